"""SimCLR's figure 9: batch size against length of training."""

from functools import partial

from study import NETWORK, Claim, Study, Variant, main

from sslbolts import SimCLR

simclr = partial(SimCLR, hidden_dim=256, temperature=0.2, **NETWORK)

STUDY = Study(
    name="batch_and_epochs",
    title="Batch size and epochs",
    about="Does a large batch, with its many negatives, help; and does it still after long training? Chen et al. "
    "2020 (arXiv:2002.05709, figure 9) found a clear gain in 100 epochs that nearly vanished in 1,000, and a "
    "gain of longer training at every batch size. Here the learning rate is the same for all, so that small "
    "batches also take more steps.",
    variants=[
        Variant(f"batch {size}, {epochs} epochs", simclr, batch_size=size, epochs=epochs)
        for epochs in (3, 9)
        for size in (32, 128, 512)
    ],
    claims=[
        Claim("batch 128, 3 epochs", "batch 32, 3 epochs"),
        Claim("batch 512, 3 epochs", "batch 128, 3 epochs"),
        *(Claim(f"batch {size}, 9 epochs", f"batch {size}, 3 epochs") for size in (32, 128, 512)),
    ],
)

if __name__ == "__main__":
    main(STUDY)
