"""Pages of benchmarks/results and of the notebooks, which stay where they are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def pages() -> dict[str, str | bytes]:
    """File below docs/ -> its content."""
    found: dict[str, str | bytes] = {}
    for path in sorted(RESULTS.rglob("*.md")):
        below = path.relative_to(RESULTS)
        up = "../" * len(below.parts)
        found[f"benchmarks/{below}"] = (
            f"```{{include}} {up}../benchmarks/results/{below}\n:relative-images:\n:relative-docs: .\n```\n"
        )
    found |= {f"notebooks/{path.name}": path.read_bytes() for path in (ROOT / "notebooks").glob("*.ipynb")}
    return found
