"""Fixtures that every test may use.

What they import is imported in them: the process that only hands out tests then starts seconds earlier.
"""

import functools
import gc
import multiprocessing.process
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.helpers.ranks import TwoRanks

torch.set_num_threads(1)  # of small networks, several threads only wait for each other
gc.disable()  # until all tests are collected: what is made until then stays

# Left out of ``make check``: the command line, files and pictures, which take longest of what trains nothing.
NOT_QUICK = ("bolts/", "checkpoints/", "cli/", "pictures/", "report/", "test_hostile_files.py")
LONGEST_FIRST = ("invariants", "cli", "notebooks", "checkpoints", "evaluation", "data", "callbacks", "methods")

FORKING = {"two_ranks", "undisturbed"}
"""Fixtures of tests whose processes are forks of a server."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="skip each test that trains, exports a program or starts a process (make check)",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests begin first, so that no process waits for another's last one; those that fork share one server."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        room = item.nodeid.partition("tests/")[2].partition("/")[0]
        return FORKING.isdisjoint(getattr(item, "fixturenames", ())), [*LONGEST_FIRST, room].index(room)

    if config.getoption("quick"):
        items[:] = [item for item in items if not item.nodeid.partition("tests/")[2].startswith(NOT_QUICK)]
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))
    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Leaves modules and collected tests, which stay to the end, out of every later garbage collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _quick(request: pytest.FixtureRequest) -> Iterator[None]:
    """With ``--quick``, a test ends as skipped where it begins to train, to export a program or to start a process."""

    def skip(*_: Any, **__: Any) -> None:
        pytest.skip("trains, exports a program or starts a process")

    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("quick"):
            from sslbolts._lightning import Trainer

            patch.setattr(Trainer, "fit", functools.wraps(Trainer.fit)(skip))  # the command reads its arguments
            patch.setattr(torch.export, "export", skip)
            patch.setattr(torch.onnx, "export", skip)
            patch.setattr(subprocess.Popen, "__init__", skip)
            patch.setattr(multiprocessing.process.BaseProcess, "start", skip)
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    from sslbolts.training.seeds import seed_devices

    seed_devices(0)


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 packaged images to train on and 200 to test with, in a tenth of the time."""
    from tests.helpers.few_images import use_few_images

    use_few_images(monkeypatch, train=500, test=200)


@pytest.fixture(scope="session")
def two_ranks() -> Iterator[TwoRanks]:
    """A pool of two gloo processes: ``two_ranks(function, *args) -> [result of rank 0, result of rank 1]``."""
    pool = TwoRanks()
    yield pool
    pool.close()
