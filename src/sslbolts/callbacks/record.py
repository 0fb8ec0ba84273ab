"""The record of a run: its command, versions and machine, in a small file of its folder."""

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sslbolts._lightning import Callback, LightningModule, Trainer, rank_zero_warn
from sslbolts.callbacks.shared.redaction import redact
from sslbolts.callbacks.shared.run_settings import run_settings
from sslbolts.checks import read_regular, write_text
from sslbolts.errors import UsageError

__all__ = ["RunRecord"]

_PACKAGES = ("sslbolts", "torch", "torchvision", "pytorch-lightning", "lightning", "timm", "torchmetrics", "numpy")


class RunRecord(Callback):
    """Writes ``run.json`` into the run's folder, for ``sslbolts report``: the command, the settings of data and
    Trainer, versions, machine and duration.

    The file has no passwords and keys: values of options named like one are left out. A resumed run keeps the command
    that it was begun with. ``sslbolts fit`` and ``sslbolts demo`` have it already.

    Args:
        command: the arguments of the command line; None is that of the process, and in a notebook there is none.

    Example:
        >>> RunRecord(["sslbolts", "fit", "--model", "SimCLR"]).command
        'sslbolts fit --model SimCLR'
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.command = shlex.join(redact(list(_of_process() if command is None else command)))
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
            "command": self.command or None,
            "working_directory": str(Path.cwd()),
            "earlier_commands": earlier,
            "model": type(pl_module).__name__,
            "data": None if data is None else type(data).__name__,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": os.environ.get("PL_GLOBAL_SEED"),
            "devices": f"{trainer.world_size} x {trainer.strategy.root_device.type}",
            "precision": str(trainer.precision),
            "settings": redact(run_settings(trainer)),
            "versions": _versions(),
            "machine": _machine(),
            "commits": {name: found for name, path in _CODE.items() if (found := _commit(path))},
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
        try:
            write_text(self._path, json.dumps(self._record, indent=2, ensure_ascii=False) + "\n")
        except UsageError as error:  # no reason to end a training
            rank_zero_warn(str(error))


_CODE = {"project": Path(), "sslbolts": Path(__file__)}


def _of_process() -> list[str]:
    """The command that was typed, as far as a process knows it; empty in a notebook or at a prompt."""
    started = list(sys.orig_argv)
    if len(started) < 2 or hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        return []
    interpreter, rest = Path(started[0]), started[1:]
    if "TORCHELASTIC_RUN_ID" in os.environ:
        nodes, processes = (os.environ.get(f"{name}_WORLD_SIZE", "1") for name in ("GROUP", "LOCAL"))
        launcher = ["torchrun", *([f"--nnodes={nodes}"] if nodes != "1" else []), f"--nproc-per-node={processes}"]
        return [*launcher, *(rest[1:] if rest[0] == "-u" else rest)]  # -u is torchrun's
    script = Path(rest[0])
    if script.is_absolute() and script.parent == Path(sys.executable).parent:  # a program that pip installed
        return [script.name, *rest[1:]]
    return [interpreter.name, *rest]


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


def _commit(path: Path) -> str | None:
    """The commit that git has of a folder, or of a file if it is git's; with a mark if files differ; None without git.

    A package installed into a ``.venv`` lies in the repository of a project, whose commit is not the package's.
    """
    asked = [["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]]
    if path.is_file():
        asked.insert(0, ["ls-files", "--error-unmatch", path.name])
    try:
        *_, head, changes = (
            subprocess.run(
                ["git", *arguments],
                cwd=path.parent if path.is_file() else path,
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
            for arguments in asked
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_regular(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
