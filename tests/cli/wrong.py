"""A wrong use of the command line, as a line of the tables that the tests go through."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslbolts.errors import UsageError

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
TRAINER = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.logger=false",
    "--trainer.enable_checkpointing=false",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
MODEL = ["--model.backbone=resnet18", f"--model.backbone_kwargs={json.dumps(TINY)}", "--model.hidden_dim=8"]
DATA = ["--data.batch_size=8", "--data.num_workers=0"]
SIMCLR = ["fit", "--model=SimCLR", *MODEL, *DATA, *TRAINER, "--trainer.max_epochs=1"]


@dataclass(frozen=True)
class Wrong:
    """A wrong use.

    Attributes:
        name: of the test.
        argv: the command line; ``{files}`` stands for the folder of the fixture.
        words: what the message says, in both.
        python: the same mistake in Python, given the folder; None where only the command line can make it.
        exception: what Python raises.
    """

    name: str
    argv: list[str]
    words: str
    python: Callable[[Path], Any] | None = field(default=None)
    exception: type[Exception] = UsageError
