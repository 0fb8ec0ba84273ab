"""Every table of the command line, on terminals of 60, 80 and 120 columns, with long values: nothing of it is lost."""

import io
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sslbolts.callbacks import preflight
from sslbolts.cli import configs, demo, diagnose, methods
from sslbolts.cli.shared import results
from sslbolts.evaluation.diagnosis.diagnose import Diagnosis
from sslbolts.evaluation.result import Result
from sslbolts.methods.configurations import first_sentence, names
from sslbolts.methods.registry import METHODS
from sslbolts.tables import TextTable

SRC = Path(__file__).parents[1] / "src"
LONG = "/data/" + "/".join(["a_folder_with_a_long_name"] * 5) + "/last.ckpt"
SENTENCE = "of 5 on 5,000 held-out training images (68.47 % right); seed 1234567890"


def _result() -> Result:
    rows = [{"layer": f"stages.{n}.blocks.11.mlp", "lr": 0.001, "held-out top1": 0.98765, "top1": 1.0} for n in (3, 10)]
    rows = [row | {"data": "StanfordCars", "images": 123_456_789} for row in rows]
    return Result("label-efficiency", LONG, "CIFAR10Mini", {"top1": 0.69345, "rankme": 1234.5}, {"chosen": SENTENCE,
                  "folder": LONG, "markup": "[bold]a[/bold] [0.1, 1.0]"}, rows, [f"Note: {SENTENCE}"])  # fmt: skip


def _diagnosis() -> Diagnosis:
    metrics = {f"{r}/{name}": 1234.5678 for r in ("h", "g(h)") for name in ("rankme", "alignment")}
    row = {"what": "horizontal flip or none", "random guess/top1": 0.5, "h/top1": 0.98765, "g(h)/top1": 0.6}
    found = Result("diagnose", LONG, "CIFAR10Mini", metrics, {"h": "backbone", "g(h)": "projector"}, [row])
    names = [f"a_class_with_a_very_long_name_{label}" for label in range(3)]
    return Diagnosis(found, torch.tensor([[3, 1, 0], [0, 4, 0], [2, 0, 2]]), names)


class _Run:
    callback_metrics = {f"{m}{s}": torch.tensor(0.5) for m in ("knn/k20", "ridge") for s in ("", "/raw_pixels", "/untrained")}  # noqa: E501  # fmt: skip
    callback_metrics["probe/top1"] = torch.tensor(0.98765)
    metrics = ("knn/k20", "ridge")


# Each prints a table; beside it the words that must be there, each on one line.
TABLES = {
    "evaluate": (lambda: results.show(_result()), ["69.34 %", "1234", "98.77 %", "123456789", "[0.1,", SENTENCE]),
    "transfer": (lambda: results.show(_result(), [_result().rows_table("transfer")]), ["98.77 %", "123456789"]),
    "diagnose": (
        lambda: results.show(_diagnosis().result, diagnose.tables(_diagnosis())),
        ["1235", "98.77 %", "50.00 %", "100.0 %", "25.0 %", "a_class_with_a_very_long_name_2"],
    ),
    "preflight": (
        lambda: preflight._show("Preflight", {"learning rate": SENTENCE, "steps": "123,456,789", "checkpoint": LONG}),
        ["123,456,789", SENTENCE],
    ),
    "demo": (lambda: demo.print_results(_Run, _Run), ["98.8", "50.0", "untrained network"]),
    "methods": (lambda: methods.main([]), [m.published for m in METHODS.values()] + list(METHODS)),
    "configs": (lambda: configs.main([]), [*names(), *map(first_sentence, names())]),
    "a method": (lambda: methods.main(["RotNet"]), [METHODS["RotNet"].paper, "milestone_factor = 0.2"]),
}  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", TABLES)
def test_nothing_of_a_table_is_lost(name, width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    show, expected = TABLES[name]
    show()
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    words = set(shown.split())
    for text in expected:
        for word in text.split():
            assert word in words or word + ":" in words, (text, word)
    assert LONG not in _texts(name) or LONG in re.sub(r"\s", "", shown)


def _texts(name: str) -> str:
    return LONG if name in ("evaluate", "diagnose", "preflight") else ""


@pytest.mark.parametrize("width", [10, 20, 30, 40, 60, 80])
def test_words_stay_whole_as_long_as_the_terminal_has_room_for_them(width):
    rows = [[f"name{n}", "69.3 (1000 ep), published", f"{n}234.5678", "arXiv:1911.05722"] for n in range(3)]
    table = TextTable(["method", "linear", "value", "paper"], [["a family"], *rows], title="A title", numbers=[2])
    file = io.StringIO()
    Console(width=width, file=file).print(table)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for row in rows:
        for cell in row:
            assert all(word in words for word in cell.split() if len(word) <= width - 2), (cell, lines)


@pytest.mark.parametrize("width", range(40, 80, 3))
def test_a_long_name_leaves_the_sentence_beside_it_whole(width):
    rows = [["instance_discrimination_cifar10mini", SENTENCE], ["short", "word"]]
    file = io.StringIO()
    Console(width=width, file=file).print(TextTable(["name", "sentence"], rows))
    words = file.getvalue().split()
    assert [word for row in rows for cell in row for word in cell.split() if word not in words] == []


def test_other_tables_are_not_made():
    """Those of rich leave out what does not fit; TextTable does not."""
    others = [path for path in SRC.rglob("*.py") if "rich.table" in path.read_text() and path.name != "tables.py"]
    assert not others, "use sslbolts.tables.TextTable"
