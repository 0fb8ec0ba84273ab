"""Wrong uses of the methods that generate pixels."""

from pathlib import Path
from typing import Any

from sslbolts import BiGAN, ContextEncoder, DenoisingAutoencoder
from sslbolts._lightning import Trainer
from sslbolts.data import CIFAR10MiniDataModule
from tests.cli.wrong import DATA, TRAINER, Wrong
from tests.helpers.nets import TinyBackbone

RUN = [
    "--model.backbone=resnet10t",
    "--model.stem=cifar",
    "--model.optimizer=torch.optim.Adam",
    *DATA,
    *TRAINER,
    "--trainer.max_epochs=1",
]


def _fit(method: Any, views: str) -> Any:
    data = CIFAR10MiniDataModule(batch_size=8, num_workers=0, views=views)
    settings: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    Trainer(max_epochs=1, limit_train_batches=1, **settings).fit(method, data)


def _hole(files: Path) -> Any:
    _fit(ContextEncoder(TinyBackbone(), output_size=32, decoder_width=4), "context_encoder")


WRONG_GENERATIVE = [
    Wrong(
        "misspelt corruption",
        ["fit", "--model=DenoisingAutoencoder", *RUN, "--model.corruption=maskign"],
        'Did you mean "masking"?',
        lambda files: DenoisingAutoencoder(TinyBackbone(), corruption="maskign"),
    ),
    Wrong(
        "normalized images of a denoising autoencoder",
        ["fit", "--model=DenoisingAutoencoder", *RUN, "--data.views=mae"],
        "CIFAR10MiniDataModule normalizes its images",
        lambda files: _fit(DenoisingAutoencoder(TinyBackbone()), "mae"),
    ),
    Wrong(
        "a hole as large as the image",
        ["fit", "--model=ContextEncoder", *RUN, "--model.output_size=32", "--data.views=context_encoder"],
        "nothing is around it: give a smaller output_size",
        _hole,
    ),
    Wrong(
        "a hole without an inside",
        ["fit", "--model=ContextEncoder", *RUN, "--model.output_size=16", "--model.overlap=8"],
        "overlap=8 leaves nothing of a hole of output_size=16 pixels",
        lambda files: ContextEncoder(TinyBackbone(), output_size=16, overlap=8),
    ),
    Wrong(
        "generated images of a size that cannot be",
        ["fit", "--model=BiGAN", *RUN, "--model.generator_size=30"],
        "generator_size=30: it must be 4 doubled",
        lambda files: BiGAN(TinyBackbone(), generator_size=30),
    ),
    Wrong(
        "generated images larger than the data's",
        ["fit", "--model=BiGAN", *RUN, "--model.width=4", "--data.views=bigan"],
        "give a smaller generator_size",
        lambda files: _fit(BiGAN(TinyBackbone(), width=4), "bigan"),
    ),
]
