"""A run without a configuration: its monitors by name, its folder and its length."""

import inspect
import logging
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

from sslbolts._lightning import LIGHTNING, Callback, Trainer, lightning_module
from sslbolts.callbacks import (
    AugmentationSheet,
    CollapseMonitor,
    EmbeddingPlot,
    KNNMonitor,
    NeighborSheet,
    OnlineLinearProbe,
    Preflight,
    ViewAgreement,
)
from sslbolts.data import SSLDataModule
from sslbolts.errors import UsageError
from sslbolts.methods import SSLModule
from sslbolts.methods.registry import METHODS

__all__ = ["MONITORS", "LoggingInterval", "defaults", "name_of_run", "that_fit", "without_advertising"]

MONITORS: dict[str, type] = {
    "preflight": Preflight,
    "knn": KNNMonitor,
    "probe": OnlineLinearProbe,
    "collapse": CollapseMonitor,
    "agreement": ViewAgreement,
    "augmentations": AugmentationSheet,
    "neighbors": NeighborSheet,
    "embedding": EmbeddingPlot,
    "learning_rate": lightning_module("callbacks").LearningRateMonitor,
    "checkpoint": lightning_module("callbacks").ModelCheckpoint,
}
"""Name after ``--monitors.`` -> callback."""

_OF_LABELS = (KNNMonitor, OnlineLinearProbe)
_OF_VALIDATION_IMAGES = (KNNMonitor,)
_OF_SINGLE_IMAGES = (NeighborSheet, EmbeddingPlot, ViewAgreement)  # of validation, or of training
_OF_FEATURES = (KNNMonitor, *_OF_SINGLE_IMAGES, OnlineLinearProbe, CollapseMonitor, AugmentationSheet)


class LoggingInterval(Callback):
    """Logs every 50 steps as Lightning does, but ten times in an epoch of fewer steps."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        batches = trainer.num_training_batches
        if batches < 500:  # it is infinite where nobody knows
            trainer.log_every_n_steps = max(1, int(batches) // 10)  # type: ignore[attr-defined]


def without_advertising() -> None:
    """Keep Lightning from recommending other products, and from warning of an interval that is about to change."""
    logging.getLogger(f"{LIGHTNING}.utilities.rank_zero").addFilter(_is_no_tip)
    warnings.filterwarnings("ignore", message=r"The number of training batches \(\d+\) is smaller than the logging")


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()


def name_of_run(model: str | None, data: str | None, root: str | None) -> str:
    """The folder of a run under ``runs/``: its method and its data, as configurations are named.

    Args:
        model: name or class path of the method.
        data: name or class path of the DataModule.
        root: folder of the images, if one is given.

    Example:
        >>> name_of_run("SimCLR", "ImageFolder", "holidays/photos/"), name_of_run("sslbolts.MoCoV3", None, None)
        ('simclr_photos', 'moco_v3_cifar10mini')
    """
    model = (model or "run").rpartition(".")[2]
    method = METHODS[model].module.rpartition(".")[2] if model in METHODS else model.lower()
    images = (data or "CIFAR10Mini").rpartition(".")[2].removesuffix("DataModule").lower()
    if root:
        images = os.path.basename(os.path.normpath(root))
    return re.sub(r"[^\w.-]+", "_", f"{method}_{images}").strip("_.")


def defaults(name: str) -> dict[str, Any]:
    """Settings of a run without a configuration, as options of the command.

    Args:
        name: of the run.
    """
    given: dict[str, dict[str, Any]] = {
        "knn": {"k": [20]},
        "checkpoint": {"dirpath": f"runs/{name}", "save_last": True, "enable_version_counter": False},
    }
    return {
        "trainer.max_epochs": 100,
        "trainer.logger": {
            "class_path": "CSVLogger",
            "init_args": {"save_dir": "runs", "name": name, "version": ""},
        },
        **{
            f"monitors.{key}": {"class_path": _class_path(kind), **({"init_args": given[key]} if key in given else {})}
            for key, kind in MONITORS.items()
        },
    }


def that_fit(
    monitors: Mapping[str, Callback | None], settings: Any, *, data: Any, method: Any
) -> tuple[list[Callback], list[str]]:
    """The monitors that a run can use, and those that its images have nothing for, with what these lack.

    Left out without a word are those of a kind that the run has in ``trainer.callbacks``, what the Trainer is told to
    do without, what measures agreement of views where labels tell more, and of a module that is no method of images
    all that looks at features.

    Args:
        monitors: by name; None for one that was taken out.
        settings: of the Trainer.
        data: the DataModule.
        method: the module that is trained.
    """
    line = METHODS.get(type(method).__name__)
    of_text = line is not None and line.learns_from == "text"
    own = isinstance(data, SSLDataModule) and isinstance(method, SSLModule) and not of_text
    labeled, held_out = own and _has_labels(data), own and data.has_images("val")
    unwanted: tuple[type, ...] = tuple(map(type, settings.callbacks or ()))
    unwanted += () if own else _OF_FEATURES
    unwanted += (ViewAgreement,) if labeled and held_out and monitors.get("knn") is not None else ()
    unwanted += (MONITORS["learning_rate"],) if settings.logger is False else ()
    unwanted += (MONITORS["checkpoint"],) if settings.enable_checkpointing is False or settings.barebones else ()
    wanted = [monitor for monitor in monitors.values() if monitor is not None and not isinstance(monitor, unwanted)]
    hint = " (--data.val_fraction holds some out)" if hasattr(data, "val_fraction") else ""
    lacking: dict[tuple[type, ...], str] = {} if labeled else {_OF_LABELS: "no labels"}
    lacking |= {} if held_out else {_OF_VALIDATION_IMAGES: f"no validation images{hint}"}
    if own and not held_out and not data.has_rows:
        lacking |= {_OF_SINGLE_IMAGES: "no validation images, and training images that are a stream"}
    used, left_out = [], []
    for monitor in wanted:
        lacks = [words for kinds, words in lacking.items() if isinstance(monitor, kinds)]
        if lacks:
            left_out.append(f"{type(monitor).__name__}: {' and '.join(lacks)}")
        else:
            used.append(monitor)
    return used, left_out


def _has_labels(data: SSLDataModule) -> bool:
    try:
        return data.num_classes > 1
    except UsageError:
        return False


def _class_path(kind: type) -> str:
    module = "sslbolts.callbacks" if kind.__module__.startswith("sslbolts.") else inspect.getmodule(kind).__name__  # type: ignore[union-attr]
    return f"{module}.{kind.__name__}"
