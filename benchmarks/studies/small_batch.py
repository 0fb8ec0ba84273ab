"""MoCo against SimCLR at a small batch: a queue in place of a large batch."""

from functools import partial

from study import NETWORK, Claim, Study, Variant, main

from sslbolts import MoCo, SimCLR

simclr = partial(SimCLR, hidden_dim=256, temperature=0.2, **NETWORK)
moco = partial(MoCo, hidden_dim=256, temperature=0.2, momentum=0.99, queue_length=2048, milestones=(), **NETWORK)

STUDY = Study(
    name="small_batch",
    title="MoCo and SimCLR at a small batch",
    about="Does a queue of negatives make up for a small batch? Chen et al. 2020 (MoCo v2, arXiv:2003.04297, table "
    "2) found MoCo at batch 256 ahead of SimCLR at 256, and even of SimCLR at 8192.",
    variants=[
        Variant("SimCLR, batch 32", simclr, batch_size=32),
        Variant("SimCLR, batch 256", simclr, batch_size=256),
        Variant("MoCo, batch 32", moco, batch_size=32),
        Variant("MoCo, batch 256", moco, batch_size=256),
    ],
    claims=[Claim("MoCo, batch 32", "SimCLR, batch 32"), Claim("MoCo, batch 32", "SimCLR, batch 256")],
)

if __name__ == "__main__":
    main(STUDY)
