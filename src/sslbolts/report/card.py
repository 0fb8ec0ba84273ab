"""The model card of a network that is given away: what made it, how good it is, and how it is loaded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from sslbolts.evaluation.result import format_metric
from sslbolts.methods.registry import METHODS
from sslbolts.report.places import public, public_command
from sslbolts.report.run import Run
from sslbolts.transforms.preprocessing import Preprocessing, range_in_words

__all__ = ["Card", "model_card", "run_folder"]

_OF_THE_TRAINER = ("max_epochs", "max_steps", "accumulate_grad_batches", "precision", "devices", "num_nodes",
                   "sync_batchnorm", "gradient_clip_val")  # fmt: skip
_MEASURES = re.compile(r"(?:.+/)?(?:knn/.+|ridge/.+|probe/.+|agreement/.+|rankme|train/loss)")
_SHARES = re.compile(r"(?:.+/)?(?:knn/k\d.*|(?:ridge|probe|agreement)/top\d.*)")
_MOST_METRICS = 16
_LONGEST = 200  # characters of a setting


@dataclass(frozen=True)
class Card:
    """What a card says besides what the run's folder does.

    Attributes:
        repository: OWNER/NAME.
        method: what trained the network.
        network: in words.
        num_features: width of its features.
        preprocessing: of its images; None where it is not known.
        in_timm: whether timm makes the network.
        license: of the weights, as the Hub writes it; None where their owner has said none.
    """

    repository: str
    method: str
    network: str
    num_features: int
    preprocessing: Preprocessing | None
    in_timm: bool
    license: str | None = None


def run_folder(checkpoint: str | Path) -> Path | None:
    """The folder of the run that a checkpoint is of; None where nothing of one stands beside it.

    Example:
        >>> run_folder("nowhere/last.ckpt") is None
        True
    """
    beside = Path(checkpoint).absolute().parent
    for folder in (beside, beside.parent) if beside.name == "checkpoints" else (beside,):
        if any((folder / name).is_file() for name in ("run.json", "config.yaml", "metrics.csv")):
            return folder
    return None


def model_card(card: Card, run: Run | None) -> str:
    """The text of ``README.md`` in Markdown, with the Hub's header.

    Nothing in it is taken for markup, and nothing names a folder, a machine or a person.

    Args:
        card: the network.
        run: that trained it; None where nothing is known of it.

    Example:
        >>> text = model_card(Card("jane/net", "SimCLR", "resnet18", 512, None, True), None)
        >>> text.splitlines()[0], "timm.create_model" in text
        ('---', True)
    """
    name = card.repository.rpartition("/")[2]
    parts = [
        _header(card),
        f"# {_plain(name)}",
        f"The backbone of {_plain(card.method)} (self-supervised), {_plain(card.network)}: images to "
        f"{card.num_features:,} features. It has no classifier.",
        _usage(card),
        _images(card.preprocessing),
        *(_of_run(run) if run is not None else ["Nothing is recorded of the run that trained it."]),
        _license(card),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(card: Card) -> str:
    tags = ["sslbolts", "self-supervised-learning"] + (["timm"] if card.in_timm else [])
    tags += [card.method.lower()] if card.method in METHODS else []
    header: dict[str, object] = {"library_name": "timm" if card.in_timm else "sslbolts"}
    header |= {"pipeline_tag": "image-feature-extraction", "tags": tags}
    header |= {"license": card.license} if card.license else {}
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---"


def _usage(card: Card) -> str:
    lines = ["from sslbolts import load_backbone", "", f'backbone = load_backbone("hf://{card.repository}")']
    if card.in_timm:
        timm = ["import timm", "", f'backbone = timm.create_model("hf-hub:{card.repository}", pretrained=True)']
        lines = [*timm, "", "# the same with sslbolts", *lines]
    return "\n".join(["## Use", "", "```python", *lines, "```"])


def _images(entry: Preprocessing | None) -> str:
    entry = entry or Preprocessing()
    size = f"{entry.image_size} pixels a side" if entry.image_size else "of a size that is not recorded"
    size += f", values of {range_in_words(entry.value_range)} as 0 to 1" if entry.value_range else ""
    if entry.neutral:
        return f"Images: {entry.in_chans} channels, {size}, in [0, 1], not normalized."
    if entry.mean is None or entry.std is None:
        return f"Images: {size}; how they were normalized is not recorded."
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (entry.mean, entry.std))
    return f"Images: {entry.in_chans} channels, {size}, in [0, 1], minus ({mean}), divided by ({std})."


def _of_run(run: Run) -> list[str]:
    parts = ["## Training"]
    facts = [("Method", run.model), ("Source", _paper(run.model)), ("Data", run.data or "")]
    epochs = run.record.get("epochs") or run.epochs
    facts += [("Epochs", f"{epochs:g}" if isinstance(epochs, int | float) and epochs else "")]
    facts += [(name.capitalize(), str(run.record.get(name) or "")) for name in ("steps", "devices", "precision")]
    versions = run.record.get("versions")
    if isinstance(versions, dict):
        facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    commits = run.record.get("commits")
    if isinstance(commits, dict):
        facts.append(("Commit", ", ".join(f"{name} {commit}" for name, commit in commits.items())))
    parts.append(_table(("", ""), [(name, public(value)) for name, value in facts if value]))
    if isinstance(command := run.record.get("command"), str) and command:
        parts.append(_code(public_command(command)))
    settings = [(name, public(value, name)) for name, value in run.flat_config.items() if _is_shown(name)]
    if settings:
        parts += ["### Settings", _table(("setting", "value"), settings)]
    return [*parts, *_metrics(run)]


def _metrics(run: Run) -> list[str]:
    names = [name for name in run.metrics if _MEASURES.fullmatch(name)][:_MOST_METRICS]
    last = {name: run.metrics[name][-1].value for name in names}
    logged = [(name, f"{100 * v:.2f} %" if _SHARES.fullmatch(name) else f"{v:.4g}") for name, v in last.items()]
    judged = []
    for result in run.results:
        first = next(iter(result.metrics.items()), None)
        if first is not None:
            what = f"{result.protocol} on {result.data}"
            judged.append((public(what), f"{first[0]} {format_metric(*first)}"))
    parts = ["## Evaluation"] if logged or judged else []
    parts += [_table(("protocol", "result"), judged)] if judged else []
    return parts + (["Last logged in training:", _table(("metric", "value"), logged)] if logged else [])


def _is_shown(name: str) -> bool:
    if name.startswith("trainer."):
        return name.partition(".")[2] in _OF_THE_TRAINER
    return name == "seed_everything" or name.startswith(("model.", "data."))


def _paper(method: str) -> str:
    line = METHODS.get(method)
    return "" if line is None else line.paper


def _license(card: Card) -> str:
    said = (
        f"The weights are under the license {_plain(card.license)}."
        if card.license
        else "The owner of the weights has stated no license for them."
    )
    return f"## License\n\n{said} They were written by sslbolts, whose own code (Apache-2.0) makes no claim on them."


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    lines = [f"| {_plain(left)} | {_plain(right)} |" for left, right in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines])


def _code(text: str) -> str:
    line = " ".join(text.split())
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{line}\n{fence}"


def _plain(text: str) -> str:
    r"""A text on one line that Markdown and HTML show as it is.

    Example:
        >>> print(_plain("<b>50 %</b> | *of* _all_ [batch_size](x)"))
        \<b\>50 %\</b\> \| \*of\* \_all\_ \[batch_size\](x)
    """
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
    return re.sub(r"([\\`*\[\]<>&|!#~$@:^{}]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", line)
