"""Runs that cannot go on from a checkpoint, and one that diverges."""

from functools import partial

import torch

from sslbolts import SimCLR
from sslbolts.callbacks import NanGuard
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.errors import DivergedError
from tests.cli.wrong import SIMCLR, TINY, Wrong
from tests.helpers.trainers import quiet_trainer


def _fit(files, optimizer=None, ckpt_path=None):
    given = {} if optimizer is None else {"optimizer": optimizer}
    method = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, warmup_epochs=0, **given)
    trainer = quiet_trainer(max_epochs=1, limit_train_batches=4, callbacks=[NanGuard(every_n_steps=1)])
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=8, num_workers=0), ckpt_path=ckpt_path)


WRONG_ACCIDENTS = [
    Wrong(
        "a learning rate that is far too high",
        [
            *(*SIMCLR, "--trainer.limit_train_batches=4", "--model.warmup_epochs=0"),
            *("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=1e30"),
        ],
        "a lower learning rate (it was ",
        lambda files: _fit(files, partial(torch.optim.SGD, lr=1e30)),
        DivergedError,
    ),
    Wrong(
        "resume with another optimizer",
        [
            *(*SIMCLR, "--ckpt_path={files}/simclr.ckpt"),
            *("--model.optimizer=torch.optim.AdamW", "--model.optimizer.lr=0.001"),
        ],
        "the checkpoint was made with LARS, and this run has AdamW",
        lambda files: _fit(files, partial(torch.optim.AdamW, lr=0.001), files / "simclr.ckpt"),
    ),
    Wrong(
        "resume with fewer parameter groups than the checkpoint",
        [*SIMCLR, "--ckpt_path={files}/groups.ckpt"],
        "the checkpoint's optimizer has 1 parameter group (of 16 parameters), and this run's 2 parameter groups",
        lambda files: _fit(files, ckpt_path=files / "groups.ckpt"),
    ),
    Wrong(
        "resume from a checkpoint of weights alone",
        [*SIMCLR, "--ckpt_path={files}/weights_alone.ckpt"],
        "weights_alone.ckpt holds weights alone (save_weights_only=True), and no run can go on from them",
    ),
]
