"""What a run was started with: the command, the versions and the machine, in a small file of its folder."""

import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.redaction import redact

__all__ = ["RunRecord"]

_PACKAGES = ("sslbolts", "torch", "torchvision", "pytorch-lightning", "lightning", "timm", "torchmetrics", "numpy")


class RunRecord(Callback):
    """Writes ``run.json`` into the run's folder, for ``sslbolts report``: the command, versions, machine and duration.

    The file has no passwords and keys: values of options named like one are left out. A resumed run keeps the command
    that it was begun with. ``sslbolts fit`` and ``sslbolts demo`` have it already.

    Args:
        command: the arguments of the command line; None is that of the process.

    Example:
        >>> RunRecord(["sslbolts", "fit", "--model", "SimCLR"]).command
        'sslbolts fit --model SimCLR'
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.command = shlex.join(redact(list(command or _of_process())))
        self._path: Path | None = None
        self._record: dict[str, Any] = {}
        self._began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # the loggers of all ranks agree on it
        if not trainer.is_global_zero:
            return
        self._began = time.monotonic()
        self._path = folder / "run.json"
        earlier: list[str] = []
        if trainer.global_step:
            before = _read(self._path)
            earlier = [*before.get("earlier_commands", []), *filter(None, [before.get("command")])]
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._record = {
            "command": self.command,
            "earlier_commands": earlier,
            "model": type(pl_module).__name__,
            "data": None if data is None else type(data).__name__,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": os.environ.get("PL_GLOBAL_SEED"),
            "devices": f"{trainer.world_size} x {trainer.strategy.root_device.type}",
            "precision": str(trainer.precision),
            "versions": _versions(),
            "machine": _machine(),
            "commits": {name: found for name, folder in _FOLDERS.items() if (found := _commit(folder))},
        }
        self._write()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._path is not None:
            self._record |= {
                "seconds": round(time.monotonic() - self._began, 1),
                "epochs": trainer.current_epoch,
                "steps": trainer.global_step,
            }
            self._write()
            self._path = None

    def _write(self) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_FOLDERS = {"project": Path(), "sslbolts": Path(__file__).parent}


def _of_process() -> list[str]:
    import sys

    program = Path(sys.argv[0]).name if sys.argv else "python"
    return [*(["python"] if program.endswith(".py") else []), program, *sys.argv[1:]]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["torch"] = torch.__version__  # with the build
    if torch.version.cuda and torch.cuda.is_available():
        found["cuda"] = torch.version.cuda
    return found


def _machine() -> dict[str, str]:
    machine = {"system": platform.platform(), "processor": _processor(), "processors": str(os.cpu_count())}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        machine["accelerators"] = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return machine


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit(folder: Path) -> str | None:
    """The commit that git has in a folder, with a mark if files differ from it; None without git."""
    try:
        head, changes = (
            subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
