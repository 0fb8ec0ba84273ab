"""Runs of configs/*_cifar10.yaml, epoch by epoch, for as long as there is time."""

import json
import os
import time
from pathlib import Path
from typing import Any

import yaml

from gpu_parts.identity import ROOT, identity
from gpu_parts.plan import Row, Setup
from sslbolts._lightning import Callback
from sslbolts.checks import write_text
from sslbolts.cli import main as sslbolts

RUNS = ("simclr_cifar10", "byol_cifar10")
KNN, PROBE = "knn/k200_t0.1", "probe/top1"
_SMALL_BACKBONE = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}


class Curve(Callback):
    """Notes every epoch's accuracies, and ends the run between two epochs when no more of them fit.

    Args:
        file: JSON of the epochs so far.
        seconds: for this call.
    """

    def __init__(self, file: str, seconds: float) -> None:
        self.file, self.deadline = Path(file), time.monotonic() + seconds
        self.epochs: list[dict[str, float]] = []

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.epochs = json.loads(self.file.read_text()) if trainer.ckpt_path else []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.epochs = [row for row in self.epochs if row["epoch"] <= trainer.current_epoch]
        self.since = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Called when the epoch's validation is over."""
        now = time.monotonic()
        row = {"epoch": trainer.current_epoch + 1, "seconds": round(now - self.since, 3)}
        for name in ("train/loss", KNN, PROBE, f"{KNN}/untrained", f"{KNN}/raw_pixels"):
            if name in trainer.callback_metrics:
                row[name] = round(float(trainer.callback_metrics[name]), 6)
        self.epochs.append(row)
        write_text(self.file, json.dumps(self.epochs) + "\n")
        if now + 1.2 * max(row["seconds"] for row in self.epochs[-3:]) > self.deadline:
            trainer.should_stop = True


def cifar10(name: str, setup: Setup) -> Row:
    """A run of a configuration as it is written, but for kNN in every epoch; it goes on from its last checkpoint."""
    folder = setup.folder / ("few_images" if setup.small else "cifar10")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    config = configuration(name, setup, file)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    last, of = folder / "runs" / name / "last.ckpt", folder / f"{name}.identity"
    known = json.dumps({key: value for key, value in identity(setup.device).items() if key != "commit"})
    goes_on = last.exists() and file.exists() and of.exists() and of.read_text() == known
    of.write_text(known)
    back = Path.cwd()
    os.chdir(folder)  # the configuration writes to runs/
    try:
        code = sslbolts(
            ["fit", f"--config={name}.yaml", *(["--ckpt_path", f"runs/{name}/last.ckpt"] if goes_on else [])]
        )
    finally:
        os.chdir(back)
    if code:
        raise RuntimeError(f"sslbolts fit ended with {code}")
    epochs, planned = json.loads(file.read_text()), config["trainer"]["max_epochs"]
    best = max(row[KNN] for row in epochs)
    return {
        "finished": len(epochs) >= planned,
        "epochs": f"{len(epochs)} of {planned}",
        "seconds per epoch": sorted(row["seconds"] for row in epochs)[len(epochs) // 2],
        f"{KNN}, last epoch": epochs[-1][KNN],
        f"{KNN}, best epoch": best,
        f"{PROBE}, last epoch": epochs[-1].get(PROBE),
        "untrained": epochs[0].get(f"{KNN}/untrained"),
        "curve": epochs,
    }


def configuration(name: str, setup: Setup, file: Path) -> dict[str, Any]:
    """The YAML with the folder of the data, kNN in every epoch, and the callback that notes the curve."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    for callback in config["trainer"]["callbacks"]:
        if callback["class_path"].endswith("KNNMonitor"):
            callback["init_args"] |= {"every_n_epochs": 1, **({"max_bank": 400} if setup.small else {})}
    noted = {"file": str(file.resolve()), "seconds": max(0.0, setup.seconds - 30)}  # what starting takes
    config["trainer"]["callbacks"].append({"class_path": "gpu_parts.cifar10.Curve", "init_args": noted})
    config["trainer"]["enable_progress_bar"] = False
    if not setup.small:
        assert setup.data is not None
        config["data"]["init_args"] |= {"root": str(setup.data.resolve()), "download": False}
        return config
    config["trainer"] |= {"accelerator": "cpu", "precision": "32-true", "max_epochs": 3}
    config["trainer"] |= {"limit_train_batches": 2, "limit_val_batches": 2}
    data = config["data"]
    data["class_path"] = "sslbolts.data.CIFAR10MiniDataModule"
    data["init_args"] = {"views": data["init_args"]["views"], "batch_size": 16, "num_workers": 0}
    narrow = {"hidden_dim": 16, "output_dim": 8, "backbone_kwargs": _SMALL_BACKBONE}
    config["model"]["init_args"] |= narrow
    return config
