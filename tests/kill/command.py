"""``sslbolts fit`` in a process of its own, which gives itself a signal at a chosen moment.

The moment is exact, and the signal is the kernel's: nothing of the process is cleaned up that would not be with a
signal from elsewhere.
"""

import io
import os
import pathlib
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from sslbolts._lightning import Callback
from sslbolts.cli import main
from sslbolts.cli.run.earlier_runs import _EarlierRun
from sslbolts.cli.training import TrainingCLI
from tests.helpers.few_images import use_few_images
from tests.helpers.forks import fork_server

PATIENCE = 240


@dataclass(frozen=True)
class Moment:
    """The ``number``-th time, from 0 on, that a run comes to a place, which a rank dies at.

    Places: "batch" (before a step), "gradients" (between backward and the optimizer's step), "after batch" (before the
    other callbacks' turn), "start" (before any step), "validation", "half a save", "before a save counts", "after a
    save", "move" and "move of a folder" (before one is renamed while an earlier run is moved aside).
    """

    place: str
    number: int = 0
    signal: int = signal.SIGKILL
    rank: int = 0

    def __str__(self) -> str:
        rank = f", rank {self.rank}" if self.rank else ""
        return f"{signal.Signals(self.signal).name} at {self.place} {self.number}{rank}"


class Dies(Callback):
    """Counts the hooks of a run, and gives the signal at the moment."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.counts: dict[str, int] = {}

    def at(self, place: str) -> bool:
        """Whether it is the moment."""
        count = self.counts.get(place, 0)
        self.counts[place] = count + 1
        return (place, count) == (self.moment.place, self.moment.number)

    def come(self, place: str) -> None:
        if self.at(place):
            self.die()

    def die(self) -> None:
        print(f"the moment: {self.moment}", flush=True)
        os.kill(os.getpid(), self.moment.signal)

    def on_train_start(self, *_: Any) -> None:
        self.come("start")

    def on_train_batch_start(self, *_: Any) -> None:
        self.come("batch")

    def on_before_optimizer_step(self, *_: Any) -> None:
        self.come("gradients")

    def on_train_batch_end(self, *_: Any) -> None:
        self.come("after batch")

    def on_validation_batch_start(self, *_: Any) -> None:
        self.come("validation")


def _install(patch: pytest.MonkeyPatch, moment: Moment) -> None:
    dies = Dies(moment)
    before_fit, save, replace, rename = TrainingCLI.before_fit, torch.save, Path.replace, Path.rename

    def with_callback(cli: Any) -> None:
        before_fit(cli)
        cli.trainer.callbacks.insert(0, dies)

    def half(content: Any, file: Any, *args: Any, **options: Any) -> None:
        if dies.at("half a save"):
            whole = io.BytesIO()
            save(content, whole, *args, **options)
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
            file.flush()
            dies.die()
        save(content, file, *args, **options)

    def replaced(path: Path, target: Any) -> Path:
        saves = str(target).endswith(".ckpt")
        if saves:
            dies.come("before a save counts")
        found = replace(path, target)
        if saves:
            dies.come("after a save")
        return found

    settle = _EarlierRun._settle

    def settled(*args: Any) -> None:
        def renamed(path: Path, target: Any) -> Path:
            dies.come("move of a folder" if path.is_dir() else "move")
            return rename(path, target)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(pathlib.Path, "rename", renamed)
            settle(*args)

    patch.setattr(TrainingCLI, "before_fit", with_callback)
    patch.setattr(torch, "save", half)
    patch.setattr(pathlib.Path, "replace", replaced)
    patch.setattr(_EarlierRun, "_settle", settled)


def _carry_out(arguments: list[str], folder: str, moment: Moment | None, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    output = os.open(f"output-{environment.get('RANK', '0')}.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["sslbolts", *arguments]
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        use_few_images(patch, train=200, test=100)
        if moment is not None and moment.rank == int(environment.get("RANK", "0")):
            _install(patch, moment)
        code = main(arguments)
    sys.stdout.flush()
    os._exit(code)


def carry_out(
    arguments: list[str], folder: Path, moment: Moment | None = None, *, port: int | None = None
) -> list[int | None]:
    """``sslbolts`` with these arguments in a folder, and the exit codes of all ranks; of two where there is a port.

    Two are started as torchrun starts them. One that outlives the other by minutes is an error.
    """
    context = fork_server()
    worlds = [{}] if port is None else [_of_rank(rank, port) for rank in range(2)]
    processes = [
        context.Process(target=_carry_out, args=(arguments, str(folder), moment, environment)) for environment in worlds
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    hanging = [process for process in processes if process.is_alive()]
    for process in hanging:
        process.kill()
        process.join()
    assert not hanging, f"{len(hanging)} rank(s) still there after {PATIENCE} s"
    return [process.exitcode for process in processes]


def _of_rank(rank: int, port: int) -> dict[str, str]:
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "tests",
    }
