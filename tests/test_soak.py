"""The long run of benchmarks/soak.py: its judgment, and the run itself in short."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def soak() -> Any:
    spec = importlib.util.spec_from_file_location("soak", ROOT / "benchmarks" / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module  # dataclasses look for it
    spec.loader.exec_module(module)
    return module


def figures(soak: Any, *, per_step: float = 0.0, slower: float = 1.0, threads: int = 0, files: int = 0) -> Any:
    """10,000 steps of 10 ms; memory rises by 50 MiB within the warm-up, then by so much per step."""
    found = soak.Figures(soak.Sample(0, 900.0, 4, 10, 0))
    for step in range(0, 10_000, 100):
        memory = 950 + per_step * max(step - 2000, 0) - 50 * (step < 2000)
        found.samples.append(soak.Sample(step, memory, 6 + threads * step // 5000, 12, 2))
    found.wall = found.processor = found.relative = [0.01 * (slower if step > 5000 else 1.0) for step in range(10_000)]
    found.after = soak.Sample(10_000, 950.0, 4, 10 + files, 0)
    return found


def test_a_flat_run_has_no_faults(soak):
    flat = figures(soak)
    assert soak.faults(flat) == []
    assert (flat.growth, flat.ratio(flat.wall)) == (0.0, 1.0)
    page = soak.report(flat, "a command", "1234567")
    assert "Nothing grows, and nothing is left." in page
    assert "+0.0 MiB" in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"per_step": 0.003}, "memory grew by 21.0 MiB after warm-up"),  # (9450 - 2450) * 0.003
        ({"slower": 1.5}, "the last steps took 1.50 times as long as the first, beside a fixed piece of work"),
        ({"threads": 1}, "threads while it trains: 6, later 7"),
        ({"files": 3}, "files before: 10, after: 13"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_growth_slowness_and_what_is_left_are_faults(soak, change, words):
    (fault,) = soak.faults(figures(soak, **change))
    assert fault == words
    assert f"Faults: {words}" in soak.report(figures(soak, **change), "a command", "1234567")


@pytest.mark.slow
def test_a_run_of_five_epochs_leaves_nothing_and_does_not_grow(soak, tmp_path):
    assert soak.faults(soak.soak(500, tmp_path)) == []
