"""The page of how long the protocols take: rows that are not measured again, and notes, stay."""

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def protocols() -> Any:
    spec = importlib.util.spec_from_file_location("protocols", ROOT / "benchmarks" / "protocols.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(command: str, wall: float) -> dict[str, Any]:
    return {
        "what": "something", "classes": 10, "wall": wall, "processor": 2.0, "top1": 0.5, "peer": None,
        "date": "2026-01-02", "machine": "a machine", "command": command,
    }  # fmt: skip


def test_a_row_that_is_measured_again_replaces_its_own_only(tmp_path: Path) -> None:
    module, results = protocols(), tmp_path / "protocols"
    module.write({"ridge": row("first", 1.0), "knn": row("first", 3.0)}, ["knn", "ridge", "mlp"], results)
    page = results.with_suffix(".md")
    page.write_text(page.read_text() + "\nBy hand.\n")
    module.write({"ridge": row("second", 7.0), "mlp": row("second", 8.0)}, ["knn", "ridge", "mlp"], results)
    text = page.read_text()
    table = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and "wall" not in line]
    assert [(cells[0], cells[3], cells[-1]) for cells in table] == [
        ("| knn", "3.0 s", "1 |"),
        ("| ridge", "7.0 s", "2 |"),
        ("| mlp", "8.0 s", "2 |"),
    ]
    assert "       first\n" in text
    assert "       second\n" in text
    assert text.endswith("By hand.\n")


def test_the_page_is_what_the_script_writes_of_its_rows() -> None:
    module = protocols()
    rows = module.json.loads(module.RESULTS.with_suffix(".json").read_text())
    text = module.RESULTS.with_suffix(".md").read_text()
    assert text == module.page(rows, text.partition("\n## Notes\n")[2])
