"""A small run of a method with all its state, and the comparison of two that should be one."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.cli.test_training import TINY
from tests.invariants.cases import case_of
from tests.invariants.checks import assert_same

EPOCHS, BATCHES, EVERY = 3, 6, 4
STEPS = EPOCHS * BATCHES
"""Steps of a run; checkpoints come after every ``EVERY`` steps (once after an epoch's last) and every epoch."""

_SAVER = {"class_path": "ModelCheckpoint"}
_FOLDER = {"dirpath": "runs/mine", "enable_version_counter": False}


def write_configuration(name: str, folder: Path, *, ranks: int = 1) -> list[str]:
    """Write a method's run.yaml into a folder; the command that trains with it."""
    case = case_of(name)
    own = {} if "backbone" in case.small else {"backbone": "resnet18", "backbone_kwargs": TINY}
    arguments = {**own, "lr_scaling": "none", "warmup_epochs": 0.5, **case.small}
    if name == "OBoW":
        arguments["levels"] = ["layer1", "layer2"]  # later maps have no more than 2 x 2 pixels
    if name == "MoCo" and ranks > 1:
        arguments["queue_length"] = 32  # it must hold a whole step's keys
    content = {
        "seed_everything": 3,
        "trainer": {
            "accelerator": "cpu",
            "devices": ranks,
            "strategy": "ddp" if ranks > 1 else "auto",
            "max_epochs": EPOCHS,
            "limit_train_batches": BATCHES,
            "limit_val_batches": 2,
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "CSVLogger",
                "init_args": {"save_dir": "runs", "name": "mine", "version": ""},
            },
            "callbacks": [
                {"class_path": "sslbolts.callbacks.OnlineLinearProbe", "init_args": {"num_classes": 10}},
                {
                    "class_path": "sslbolts.callbacks.KNNMonitor",
                    "init_args": {"k": 5, "max_bank": 60, "baselines": False},
                },
                {"class_path": "sslbolts.callbacks.CollapseMonitor", "init_args": {"every_n_steps": 2}},
                _SAVER | {"init_args": _FOLDER | {"filename": "{epoch}", "save_top_k": -1, "every_n_epochs": 1}},
                # Last, since some of Lightning's versions write last.ckpt at the end of an epoch as well.
                _SAVER | {"init_args": _FOLDER | {"every_n_train_steps": EVERY, "save_last": True}},
            ],
        },
        "model": {"class_path": f"sslbolts.{name}", "init_args": json.loads(json.dumps(arguments))},
        "data": {
            "class_path": "sslbolts.data.CIFAR10MiniDataModule",
            "init_args": {"batch_size": 16, "eval_batch_size": 20, "num_workers": 0, "views": case.views},
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    return ["fit", "--config", "run.yaml"]


def assert_same_run(folder: Path, undisturbed: Path) -> dict[str, int]:
    """Both ended alike, bit for bit, in checkpoints and log; how many tensors, numbers and rows that were."""
    counts = {"tensors": 0, "values": 0, "cells": 0}
    names = {path.name for path in (undisturbed / "runs" / "mine").glob("*.ckpt")}
    assert f"epoch={EPOCHS - 1}.ckpt" in names
    for name in sorted(names):
        ours, expected = (_content(place / "runs" / "mine" / name, place) for place in (folder, undisturbed))
        assert_same(ours, expected, name)
        for leaf in _leaves(expected):
            counts["tensors" if isinstance(leaf, torch.Tensor) else "values"] += 1
    ours, expected = log_of(folder), log_of(undisturbed)
    assert list(expected) == list(range(STEPS))
    assert ours == expected
    counts["cells"] = sum(map(len, expected.values()))
    return counts


def _content(path: Path, folder: Path) -> Any:
    """A checkpoint, in whose paths the folder's own name is left out."""
    return _without(torch.load(path, weights_only=True), str(folder.resolve()))


def _without(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {_without(key, folder): _without(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, folder) for item in value]
    return value.replace(folder, "") if isinstance(value, str) else value


def _leaves(value: Any) -> Iterator[Any]:
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            yield from _leaves(item)
        else:
            yield item


def log_of(folder: Path) -> dict[int, dict[str, str]]:
    """What was logged at each step, through all parts of a run's log; what was logged again stands for it."""
    parts = list((folder / "runs" / "mine").glob("metrics*.csv"))
    parts.sort(key=lambda path: int(found[1]) if (found := re.search(r"-(\d+)", path.name)) else 10**6)
    rows: dict[int, dict[str, str]] = {}
    for part in parts:
        with part.open(newline="") as file:
            for row in csv.DictReader(file):
                rows.setdefault(int(row.pop("step")), {}).update({name: value for name, value in row.items() if value})
    return rows
