"""Pages of the methods, and the tables of them: from the registry, the configurations and the measured results."""

import hashlib
import json
import re
from contextlib import redirect_stdout
from io import StringIO
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from _extension.formulas import FORMULAS, in_lines
from sslbolts.cli import preview
from sslbolts.methods.configurations import configuration
from sslbolts.methods.pages import PAGES, configs_of, defaults_of, views_of
from sslbolts.methods.registry import METHODS, Method

ROOT, DOCS = Path(__file__).parents[2], Path(__file__).parents[1]
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "methods_mini.json").read_text())
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def pages() -> dict[str, str | bytes]:
    """File below docs/ -> its content."""
    found: dict[str, str | bytes] = {
        f"methods/{slug(name)}.md": _page(name, method) for name, method in METHODS.items()
    }
    for views in {method.views for method in METHODS.values() if method.views}:
        if not (DOCS / _picture(views)).exists():
            found[_picture(views)] = _drawn(views)
    found["methods/table.txt"] = _table()
    found["methods/choosing.txt"] = _choosing()
    return found


def slug(name: str) -> str:
    """The page of a method, the name of its file.

    >>> slug("MoCoV3")
    'moco_v3'
    """
    return METHODS[name].module.rpartition(".")[2]


def _page(name: str, method: Method) -> str:
    formula = in_lines(FORMULAS[name])
    facts = "\n".join(_facts(name, method))
    parts = [
        f"# {name}",
        f"*{_family(method)}*",
        PAGES[name].idea,
        f"$$\n{formula}\n$$",
        f"```{{list-table}}\n:stub-columns: 1\n:widths: 20 80\n:class: facts\n\n{facts}\n```",
    ]
    if method.views:
        parts += [
            "## Its views",
            f"```{{image}} {_picture(method.views).removeprefix('methods/')}\n"
            f":alt: views of the recipe {method.views}\n```",
            f"`sslbolts preview --data CIFAR10Mini --views {method.views}` draws this sheet, and of your images with "
            "another `--data`. For images of 224 pixels:",
            "\n".join(f"- {line.partition(': ')[2]}" for line in views_of(method.views)),
        ]
    parts += [
        "## Arguments",
        f"Each is explained at {{py:class}}`sslbolts.{name}`, and by `sslbolts fit --model {name} --help`.",
        "| argument | default |\n|---|---|\n"
        + "\n".join(f"| `{key}` | `{value}` |" for key, value in defaults_of(name).items()),
    ]
    if configs := configs_of(name):
        parts += ["## Configurations", *map(_config, configs)]
    return "\n\n".join(parts) + "\n"


def _facts(name: str, method: Method) -> list[str]:
    rows = {
        "paper": linked(method.paper),
        "published": f"ImageNet linear top-1 (%): {method.published}" if method.published else "",
        "measured here": _measured(name),
        "needs": method.needs,
    }
    return [f"* - {title}\n  - {text}" for title, text in rows.items() if text]


def _measured(name: str) -> str:
    if name not in MEASURED:
        return ""
    row = MEASURED[name]
    return (
        f"after {row['cpu_seconds']:.0f} s of one core on the packaged images: {100 * row['knn']:.1f} % of 20 nearest "
        f"neighbors and {100 * row['ridge']:.1f} % of a ridge classifier (untrained: {100 * row['knn/untrained']:.1f} "
        f"and {100 * row['ridge/untrained']:.1f}; raw pixels: {100 * row['knn/raw_pixels']:.1f} and "
        f"{100 * row['ridge/raw_pixels']:.1f}). [All methods beside each other](../benchmarks/methods_mini.md)"
    )


def _config(name: str) -> str:
    """What a configuration says of itself at its top."""
    text = configuration(name).read_text()
    said = [line.removeprefix("#").removeprefix(" ") for line in text.splitlines() if line.startswith("#")]
    blocks: list[str] = []
    for is_code, lines in groupby(said, key=lambda line: line.startswith("  ")):
        body = [line.strip() if is_code else line.replace("*", "\\*") for line in lines]
        blocks.append("```bash\n" + "\n".join(body) + "\n```" if is_code else "\n".join(body).strip())
    return f"### {name}\n\n" + "\n\n".join(block for block in blocks if block)


def _picture(views: str) -> str:
    """The file of a recipe's picture; another recipe of the same name has another file."""
    digest = hashlib.sha256("\n".join(views_of(views)).encode()).hexdigest()[:8]
    return f"methods/pictures/{views}-{digest}.png"


def _drawn(views: str) -> bytes:
    """The views of a recipe on three packaged images, as ``sslbolts preview`` draws them."""
    with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        file = Path(folder) / "views.png"
        size = ["--images", "3", "--draws", "3", "--output", str(file)]
        preview.main(["--data", "CIFAR10Mini", "--views", views, *size])
        return file.read_bytes()


def linked(paper: str) -> str:
    """A paper whose arXiv ids are links."""
    return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


def _family(method: Method) -> str:
    return method.family.replace("_", "-")


def _table() -> str:
    """The methods family by family."""
    lines = []
    for family, names in groupby(METHODS, key=lambda name: _family(METHODS[name])):
        lines += [f"## {family.capitalize()}", "", "| method | needs | paper | published (%) |", "|---|---|---|---|"]
        for name in names:
            method = METHODS[name]
            lines.append(
                f"| [{name}]({slug(name)}.md) | {method.needs} | {linked(method.paper)} | {method.published} |"
            )
        lines.append("")
    return "\n".join(lines)


def _choosing() -> str:
    columns = ("method", "needs", "images per step", "epochs", "MiB", "s per epoch", "kNN-20", "ridge")
    lines = [f"| {' | '.join(columns)} |", "|---|---|" + "---:|" * (len(columns) - 2)]
    for name, method in METHODS.items():
        row = MEASURED.get(name)
        if row is None:
            continue
        batch, epochs = _published_run(name)
        lines.append(
            f"| [{name}](methods/{slug(name)}.md) | {method.needs} | {batch} | {epochs} | {row['peak_mib']:.0f} | "
            f"{row['cpu_seconds'] / row['epochs']:.0f} | {100 * row['knn']:.1f} | {100 * row['ridge']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _published_run(name: str) -> tuple[str, str]:
    """Images per step and epochs of the configuration for ImageNet, or else CIFAR-10."""
    for ending in ("_imagenet", "_cifar10"):
        for configured in configs_of(name):
            if configured.endswith(ending):
                config = yaml.safe_load(configuration(configured).read_text())
                if "batch_size" not in config["data"]["init_args"]:
                    continue
                batch, devices = config["data"]["init_args"]["batch_size"], config["trainer"].get("devices", 1)
                where = "" if "imagenet" in ending else " (CIFAR-10)"
                gpus = f"{devices * batch:,} ({devices}\u00a0x\u00a0{batch})" if devices != 1 else f"{batch}"
                return f"{gpus}{where}", f"{config['trainer']['max_epochs']}"
    return "", ""
