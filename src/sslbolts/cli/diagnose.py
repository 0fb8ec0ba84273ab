"""``sslbolts diagnose``: what a representation holds, what its projector throws away, and which classes it confuses."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sslbolts.tables import TextTable

if TYPE_CHECKING:
    from torch import Tensor

    from sslbolts.evaluation.diagnosis.diagnose import Diagnosis

__all__ = ["main"]

_MOST_CLASSES = 20  # lines of the table of classes


def main(argv: Sequence[str]) -> int:
    """Diagnose, print, and write the numbers, the confusions and their picture.

    Raises:
        UsageError: for a user's mistake.
    """
    from sslbolts.cli.shared import results, source
    from sslbolts.cli.shared.parser import Parser
    from sslbolts.data import SSLDataModule
    from sslbolts.evaluation import diagnose

    parser = Parser(
        "sslbolts diagnose",
        description="What a representation holds, and what its projector throws away: "
        "sslbolts diagnose runs/demo/simclr.ckpt --data CIFAR10Mini",
    )
    source.add_source(parser, layer=False)
    source.add_data(parser, SSLDataModule)
    source.add_cache(parser)
    results.add_output(parser)
    parser.add_options(diagnose, skip=("seed", "cache"))
    config = parser.parse(argv)
    results.check(config)

    encoder = source.encoder_of(config)
    data: SSLDataModule = source.data_of(parser, config, encoder)
    config.cache = source.cache_folder(config, encoder)
    found = diagnose(encoder, data, **source.arguments_of(diagnose, config))
    results.show(found.result, tables(found))
    print(f"wrote {', '.join(map(str, write(found, results.result_file(found.result, config, encoder))))}")
    return 0


def tables(found: "Diagnosis") -> list[TextTable]:
    """The printed tables: distortions of an image, geometry of the features, and classes."""
    from sslbolts.evaluation.diagnosis.lines import distortion_lines, geometry_lines

    result = found.result
    tables = []
    for title, (columns, rows) in (
        ("", distortion_lines(result)),
        (f"{result.source} on {result.data}", geometry_lines(result)),
    ):
        numbers = [place for place, name in enumerate(columns) if place and name != "better is"]
        tables.append(TextTable(columns, rows, title=title, numbers=numbers))
    if found.confusion is None or found.class_names is None:
        return tables
    return [*tables, _classes(found.confusion, found.class_names)]


def _classes(confusion: "Tensor", names: list[str]) -> TextTable:
    """Each class's accuracy, the worst first, and for what it is taken most often besides."""
    from sslbolts.readouts import class_accuracies

    right = class_accuracies(confusion)
    worst = right.nan_to_num(2.0).argsort()  # a class without images comes last
    shown = worst[: min(_MOST_CLASSES, int((right == right).sum()))].tolist()
    title = "Classes by 20 nearest neighbors of h" + (f", the {len(shown)} worst" if len(shown) < len(names) else "")
    rows = []
    for label in shown:
        others = confusion[label].clone()
        others[label] = 0
        taken = int(others.argmax())
        share = 100 * float(others[taken] / confusion[label].sum())
        confused = f"{names[taken]}, {share:.1f} %" if share else "nothing else"
        rows.append([names[label], f"{100 * float(right[label]):.1f} %", confused])
    return TextTable(["", "right", "most often taken for"], rows, title=title, numbers=[1])


def write(found: "Diagnosis", path: Path) -> list[Path]:
    """The numbers as JSON, the confusions as a table (CSV) and as a picture beside it.

    Args:
        found: by :func:`sslbolts.evaluation.diagnosis.diagnose.diagnose`.
        path: of the JSON.
    """
    written = [found.result.save(path)]
    if found.confusion is not None and found.class_names is not None:
        from sslbolts.checks import write_text
        from sslbolts.pictures.confusion import draw_confusion
        from sslbolts.pictures.style import save

        beside = path.with_name(f"{path.stem}-confusion.csv")
        table = io.StringIO()
        rows = csv.writer(table)
        rows.writerow(["true class", *found.class_names])
        rows.writerows([name, *counts] for name, counts in zip(found.class_names, found.confusion.tolist()))
        write_text(beside, table.getvalue())
        title = f"20 nearest neighbors: {Path(found.result.source).name} on {found.result.data}"
        figure = draw_confusion(found.confusion, class_names=found.class_names, title=title)
        written += [beside, save(figure, beside.with_suffix(".png"))]
    return written
