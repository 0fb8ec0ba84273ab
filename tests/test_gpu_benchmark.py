"""The plan of benchmarks/gpu.py: what fits, in order; what is kept; what is measured anew; what its page says."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOW = {"commit": "abc", "code": "1", "hardware": "a GPU", "versions": {"torch": "2.14"}}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


class Bench:
    """A plan of three parts whose items take minutes of a clock that the test moves."""

    def __init__(self, folder: Path, identity: dict[str, Any] | None = None) -> None:
        from gpu_parts.plan import Ledger, Part, Setup

        self.minutes, self.calls, self.broken = 0.0, [], ""
        self.folder = folder
        self.parts = [
            Part("tests", "Right?", 3, ["suite"], self.measure),
            Part("speed", "Fast?", 2, ["a", "b", "c"], self.measure),
            Part("training", "Good?", 1, ["run"], self.measure, needs_data=True, fills=True),
        ]
        self.ledger = Ledger(folder / "gpu.json", identity or NOW, "python benchmarks/gpu.py --minutes 9")
        self.setup = Setup("cuda", False, None, 0.0, folder)

    def measure(self, item: str, setup: Any) -> dict[str, Any]:
        self.calls.append(item)
        self.minutes += 2
        if item == self.broken:
            raise ValueError(f"{item} broke")
        return {"images/s": 1234.5, "curve": [{"epoch": 1, "knn/k200_t0.1": 0.25}], "finished": item != "run"}

    def execute(self, part: Any, items: Sequence[str], setup: Any, keep: Callable[[Any], None]) -> None:
        from gpu_parts.plan import Entry

        end = self.minutes + setup.seconds / 60
        for item in items:
            if end - self.minutes < part.minutes:
                return
            try:
                row = part.measure(item, setup)
            except ValueError as error:
                keep(Entry(part.name, item, "failed", why=str(error)))
                continue
            keep(Entry(part.name, item, "finished" if row.pop("finished") else "unfinished", row))

    def run(self, minutes: float) -> list[str]:
        from gpu_parts.plan import carry_out

        self.calls.clear()
        clock = lambda: 60 * self.minutes  # noqa: E731
        carry_out(self.parts, self.ledger, self.setup, minutes, self.execute, clock=clock)
        return list(self.calls)


def test_it_does_what_fits_and_goes_on_where_it_stopped(tmp_path, capsys):
    bench = Bench(tmp_path)
    assert bench.run(2.5) == ["a"]  # the tests need three minutes, and after `a` too little is left
    assert "tests: left for later; it needs 3 minutes, and 2.5 are left" in capsys.readouterr().out
    assert Bench(tmp_path).run(5) == ["suite", "b"]  # in a new process
    assert Bench(tmp_path).run(60) == ["c"]
    assert "training: left out, since --data names no folder" in capsys.readouterr().out
    assert Bench(tmp_path).run(60) == []


def test_what_failed_or_is_unfinished_is_tried_again_and_comes_last(tmp_path):
    bench = Bench(tmp_path)
    bench.broken = "a"
    assert bench.run(60) == ["suite", "a", "b", "c"]
    again = Bench(tmp_path)
    again.setup = type(again.setup)("cuda", False, tmp_path, 0.0, tmp_path)
    assert again.run(60) == ["run", "a"]
    assert again.run(60) == ["run"]  # it fills its minutes, and is not at its end
    again.ledger.keep(type(again.ledger.entries["speed", "b"])("speed", "b", "failed"))
    again.ledger.keep(type(again.ledger.entries["speed", "b"])("speed", "c", "unfinished"))
    assert again.ledger.open(again.parts[1]) == ["c", "b"]


@pytest.mark.parametrize("changed", ["code", "hardware", "versions"])
def test_other_code_hardware_or_versions_are_measured_anew(tmp_path, changed):
    Bench(tmp_path).run(60)
    assert Bench(tmp_path, NOW | {"commit": "only a page was added"}).run(60) == []
    assert Bench(tmp_path, NOW | {changed: "another"}).run(60) == ["suite", "a", "b", "c"]


def test_items_of_one_process_share_its_time_and_end_at_the_first_failure(tmp_path):
    from gpu_parts.plan import Part, Setup, measured

    given: list[float] = []

    def measure(item: str, setup: Setup) -> dict[str, Any]:
        given.append(setup.seconds)
        if item == "broken":
            raise RuntimeError("no memory\nat all")
        return {"n": 1}

    setup = Setup("cpu", True, None, 120.0, tmp_path)
    filling = Part("p", "?", 0.1, ["a", "b"], measure, fills=True)
    assert [entry.state for entry in measured(filling, ["a", "b"], setup)] == ["finished"] * 2
    assert given == [pytest.approx(60, abs=1), pytest.approx(120, abs=1)]
    found = list(measured(Part("p", "?", 0.1, ["broken", "b"], measure), ["broken", "b"], setup))
    assert [(entry.item, entry.state, entry.why) for entry in found] == [
        ("broken", "failed", "RuntimeError: no memory at all")
    ]
    late = Part("p", "?", 3, ["a", "b"], measure)
    assert [entry.item for entry in measured(late, ["a", "b"], setup)] == ["a"]


def test_a_process_that_dies_costs_its_own_item_only(tmp_path):
    from gpu_parts.plan import Entry, Part, Setup, in_processes

    script = tmp_path / "script.py"
    script.write_text(
        "import sys, json\n"
        "items, into = sys.argv[sys.argv.index('--items') + 1 : sys.argv.index('--seconds')], sys.argv[-1]\n"
        "if items[0] == 'b':\n    print('an illegal memory access')\n    sys.exit(3)\n"
        "entry = {'part': 'p', 'item': items[0], 'state': 'finished', 'row': {'n': 1}}\n"
        "open(into, 'a').write(json.dumps(entry) + '\\n')\n"
    )
    kept: list[Entry] = []
    part = Part("p", "?", 0.01, ["a", "b", "c"], lambda item, setup: {})
    in_processes(script, [])(part, part.items, Setup("cpu", True, None, 30.0, tmp_path), kept.append)
    assert [(e.item, e.state) for e in kept] == [("a", "finished"), ("b", "failed"), ("c", "finished")]
    assert kept[1].why == "exit 3: an illegal memory access"


def test_the_page_says_what_was_measured_where_and_what_is_missing(tmp_path):
    from gpu_parts import page

    bench = Bench(tmp_path)
    bench.broken = "b"
    bench.setup = type(bench.setup)("cuda", False, tmp_path, 0.0, tmp_path)
    bench.run(60)
    newer = Bench(tmp_path, NOW | {"code": "2", "commit": "def"})
    newer.run(4)
    page.write(newer.parts, newer.ledger, tmp_path / "gpu", small=False)
    text = (tmp_path / "gpu.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert rows == [
        "|  | images/s | run |",
        "| suite | 1,234 | 1 |",
        "|  | images/s | run |",
        "| a | 1,234 | 1 |",
        "| c | 1,234 | 2 |",
        "|  | images/s | run |",
        "| run | 1,234 | 2 |",
    ]
    assert "- b failed: `b broke` (run 2)" in text
    speed, training = text.partition("## Training")[0].partition("## Speed")[2], text.partition("## Training")[2]
    missing = "Not measured yet, or not to its end, with the code of the newest run: "
    assert f"{missing}b, c." in speed
    assert f"{missing}all of it." in training
    assert "`python benchmarks/gpu.py --minutes 9`; commit def (code 2); a GPU; torch 2.14" in text
    assert "`python benchmarks/gpu.py --minutes 9`; commit abc (code 1); a GPU; torch 2.14" in text
    assert (tmp_path / "gpu.png").exists()
    stored = json.loads((tmp_path / "gpu.json").read_text())
    assert stored[0] == asdict(newer.ledger.entries["tests", "suite"])


def test_the_digest_is_that_of_names_and_contents(tmp_path, monkeypatch):
    from gpu_parts import identity

    monkeypatch.setattr(identity, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text("one")
    first = identity.digest([tmp_path])
    (tmp_path / "page.md").write_text("a page is no code")
    assert identity.digest([tmp_path]) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    second = identity.digest([tmp_path])
    (tmp_path / "b.py").write_text("two")
    assert len({first, second, identity.digest([tmp_path])}) == 3


@pytest.mark.slow
def test_every_part_runs_in_small_on_the_cpu_and_goes_on(tmp_path):
    words = ["--device", "cpu", "--small", "--minutes", "30", "--folder", str(tmp_path)]
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *words]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    entries = json.loads((tmp_path / "small.json").read_text())
    assert first.returncode == 0, first.stderr
    assert {(e["item"], e["why"]) for e in entries if e["state"] != "finished"} == set(), first.stdout
    assert {e["part"] for e in entries} == {
        "CUDA tests",
        "no waiting",
        "speed",
        "monitors",
        "compiled backbone",
        "CIFAR-10",
    }
    assert "A trial of the script" in (tmp_path / "small.md").read_text()
    curves = {e["item"]: [row["epoch"] for row in e["row"]["curve"]] for e in entries if "curve" in e["row"]}
    assert curves == {"simclr_cifar10": [1, 2, 3], "byol_cifar10": [1, 2, 3]}
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.count("finished before") == 6
