"""Runs that are killed, and resumed with the command that a user would type, end as the undisturbed run, bit for bit.

``make test-kill`` runs all, ``make test`` the first few. Random steps come from ``SSLBOLTS_KILL_SEED`` (0 without it),
which stands in the table at the end.
"""

import os
import random
import re
import shlex
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kill.command import Moment, carry_out
from tests.kill.runs import BATCHES, STEPS, assert_same_run, write_configuration

SEED = int(os.environ.get("SSLBOLTS_KILL_SEED", "0"))
_RANDOM = random.Random(SEED)
_IN_A_STEP = ("batch", "gradients", "after batch")
AGAIN, LAST, PRINTED = "the same command", "--ckpt_path last", "the command it printed"


@dataclass(frozen=True)
class Killed:
    """A run of a method, its moments, and how it is resumed after each of them."""

    method: str
    moments: tuple[Moment, ...]
    how: str = LAST
    ranks: int = 1
    after_another: bool = False

    def __str__(self) -> str:
        parts = ", then ".join(map(str, self.moments))
        where = " over an earlier run" if self.after_another else ""
        return f"{self.method}{f' on {self.ranks} ranks' if self.ranks > 1 else ''} | {parts}{where} | {self.how}"


def _at_random(first: int = 0, **which: Any) -> Moment:
    return Moment(_RANDOM.choice(_IN_A_STEP), _RANDOM.randrange(first, STEPS), **which)


def _twice() -> tuple[Moment, Moment]:
    return Moment(_RANDOM.choice(_IN_A_STEP), _RANDOM.randrange(5, STEPS - 2)), Moment(_RANDOM.choice(_IN_A_STEP), 1)


FEW = [
    Killed("MoCo", (Moment("half a save", 3),)),
    Killed("MoCo", (Moment("move of a folder", 1),), AGAIN, after_another=True),
]
"""Those of ``make test``, of the two worst moments: they share one undisturbed run."""

_RANDOMLY = (
    *("BYOL", "SwAV", "DeepClusterV2", "DeepCluster", "InstanceDiscrimination", "DINO", "OBoW", "MeanTeacher"),
    *("SimCLR", "BarlowTwins"),
)
MORE = [
    Killed("MoCo", (_at_random(),)),
    Killed("MoCo", (_at_random(5, signal=signal.SIGTERM),), PRINTED),
    *(Killed(method, (_at_random(),)) for method in _RANDOMLY),
    # Number 1 is the end of the first epoch's, number 3 one at an epoch's last batch.
    Killed("BYOL", (Moment("half a save", 1),)),
    Killed("SwAV", (Moment("before a save counts", 2),)),
    Killed("DeepClusterV2", (Moment("after a save", 4),)),
    Killed("InstanceDiscrimination", (Moment("after a save", 0),)),
    Killed("MoCo", (Moment("validation", 0),)),
    Killed("DeepCluster", (Moment("validation", 3),)),
    Killed("SimCLR", (Moment("start"),), AGAIN),
    Killed("SwAV", (Moment("gradients", 0),)),
    *(Killed("MoCo", (Moment("move", number),), AGAIN, after_another=True) for number in (0, 1, 2, 5)),
    Killed("MoCo", (Moment("move of a folder", 0),), AGAIN, after_another=True),
    Killed("BYOL", _twice()),
    Killed("SwAV", _twice()),
    Killed("InstanceDiscrimination", _twice()),
    Killed("DeepClusterV2", (Moment("validation", 2, signal.SIGTERM),), PRINTED),
    Killed("BYOL", (_at_random(5, signal=signal.SIGTERM),)),
    Killed("MoCo", (_at_random(5),), ranks=2),
    Killed("MoCo", (_at_random(5, rank=1),), ranks=2),
    Killed("MoCo", (Moment("half a save", 3),), ranks=2),
    Killed("MoCo", (_at_random(5, signal=signal.SIGTERM, rank=1),), PRINTED, ranks=2),
]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Callable[[str, int], Path]:
    """The folder of a method's run that nothing happened to."""
    folders: dict[tuple[str, int], Path] = {}

    def folder(method: str, ranks: int) -> Path:
        if (method, ranks) not in folders:
            place = tmp_path_factory.mktemp(f"undisturbed-{method}-{ranks}")
            codes = carry_out(write_configuration(method, place, ranks=ranks), place, port=_port(ranks))
            assert codes == [0] * ranks, (place / "output-0.txt").read_text()[-3000:]
            folders[method, ranks] = place
        return folders[method, ranks]

    return folder


def _port(ranks: int) -> int | None:
    if ranks == 1:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _printed(output: str) -> list[str]:
    """The arguments of the command by which a run said that it can be resumed."""
    (line,) = re.findall(r"go on with\n  sslbolts (.*)", output)
    return shlex.split(line)


@pytest.mark.parametrize("case", [*FEW, *(pytest.param(case, marks=pytest.mark.kill) for case in MORE)], ids=str)
def test_a_run_that_is_killed_and_resumed_is_the_undisturbed_one(case, tmp_path, undisturbed, write_down):
    expected = undisturbed(case.method, case.ranks)
    command = write_configuration(case.method, tmp_path, ranks=case.ranks)
    write_down(f"| {case} (seed {SEED}) | | |")
    first: dict[str, bytes] = {}
    if case.after_another:
        earlier = tmp_path / "runs" / "mine"
        assert carry_out([*command, "--trainer.max_epochs=1"], tmp_path) == [0]
        first = {str(path.relative_to(earlier)): path.read_bytes() for path in earlier.rglob("*") if path.is_file()}
    resumed = command
    for moment in case.moments:
        codes = carry_out(resumed, tmp_path, moment, port=_port(case.ranks))
        output = (tmp_path / "output-0.txt").read_text()
        said = (tmp_path / f"output-{moment.rank}.txt").read_text()
        assert f"the moment: {moment}" in said, f"it never came to {moment}\n{said[-3000:]}"
        if moment.signal == signal.SIGKILL:
            assert codes[moment.rank] == -signal.SIGKILL
            assert 0 not in codes
            assert "Traceback" not in "".join(path.read_text() for path in tmp_path.glob("output-*.txt"))
        else:
            assert codes == [128 + moment.signal] * case.ranks
        again = {AGAIN: command, LAST: [*command, "--ckpt_path=last"]}
        resumed = again[case.how] if case.how in again else _printed(output)
    codes = carry_out(resumed, tmp_path, port=_port(case.ranks))
    assert codes == [0] * case.ranks, (tmp_path / "output-0.txt").read_text()[-3000:]
    counts = assert_same_run(tmp_path, expected)
    write_down(f"| {case} (seed {SEED}) | {' | '.join(f'{count:,}' for count in counts.values())}")
    if case.after_another:
        kept = tmp_path / "runs" / "mine-1"
        assert {str(p.relative_to(kept)): p.read_bytes() for p in kept.rglob("*") if p.is_file()} == first
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mine", "mine-1"]


def test_the_table_has_thirty_runs_and_every_kind_of_moment():
    cases = [*FEW, *MORE]
    assert len(cases) >= 30
    places = {moment.place for case in cases for moment in case.moments}
    assert places >= {*_IN_A_STEP, "start", "validation", "half a save", "before a save counts", "after a save"}
    assert places >= {"move", "move of a folder"}
    assert all(moment.number < STEPS for case in cases for moment in case.moments if moment.place in _IN_A_STEP)
    assert STEPS % BATCHES == 0
