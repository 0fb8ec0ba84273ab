"""``sslbolts duplicates SOURCE``: near-duplicates of one's images, by the features of a network."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbolts.cli.shared.checks import check_folder, check_seed
from sslbolts.errors import UsageError
from sslbolts.tables import TextTable

if TYPE_CHECKING:
    from sslbolts.data import SSLDataModule
    from sslbolts.evaluation import Encoder
    from sslbolts.evaluation.duplicates import Duplicates

__all__ = ["main", "table"]

_MOST_ROWS = 60


def main(argv: Sequence[str]) -> int:
    """Find them, print them, and draw the nearest.

    Raises:
        UsageError: for a user's mistake.
    """
    from sslbolts.cli.shared import source
    from sslbolts.cli.shared.parser import Parser
    from sslbolts.data import SSLDataModule
    from sslbolts.evaluation import find_duplicates
    from sslbolts.evaluation.features import EncodedData

    parser = Parser(
        "sslbolts duplicates",
        description="Pairs of images whose features are nearly the same: "
        "sslbolts duplicates runs/simclr_photos/last.ckpt --data ImageFolder --data.root photos/",
    )
    source.add_source(parser)
    source.add_data(parser, SSLDataModule)
    source.add_cache(parser)
    parser.add_options(find_duplicates, skip=("cache",))
    parser.add_argument("--rows", type=int, default=24, help="pairs of the picture, at most; 0 draws none")
    parser.add_argument("--output", type=str | None, default=None, help="FILE.csv for the table")
    parser.add_argument(
        "--picture", type=str | None, default=None, help="FILE.png; default: pictures/ beside the source"
    )
    config = parser.parse(argv)
    _check(config)

    encoder = source.encoder_of(config)
    data: SSLDataModule = source.data_of(parser, config, encoder)
    picture = _picture_file(config, encoder, data)
    config.cache = source.cache_folder(config, encoder)
    found = find_duplicates(encoder, data, **source.arguments_of(find_duplicates, config))
    _show(found, config.threshold)
    for note in EncodedData(encoder, data).notes:
        print(note)
    written = []
    if config.output is not None:
        written.append(_write(found, Path(config.output)))
    if picture is not None and len(found.pairs.first):
        written.append(_draw(found, encoder, data, picture, config))
    if written:
        print(f"wrote {', '.join(map(str, written))}")
    return 0


def table(found: "Duplicates") -> TextTable:
    """Pairs with their similarity, under the heads of their groups; groups in the order of their nearest pairs."""
    pairs = list(zip(found.pairs.first.tolist(), found.pairs.second.tolist(), found.pairs.similarity.tolist()))
    rows: list[list[str]] = []
    for group in range(int(found.groups.max()) + 1 if len(found.groups) else 0):
        of_group = [pair for pair, number in zip(pairs, found.groups.tolist()) if number == group]
        images = {image for pair in of_group for image in pair[:2]}
        rows.append([f"Group {group + 1}: {len(images):,} images"])
        rows += [[found.places[a].name, found.places[b].name, f"{value:.4f}"] for a, b, value in of_group]
    return TextTable(["image", "near-duplicate", "similarity"], rows, numbers=[2])


def _check(config: Any) -> None:
    check_seed("--seed", config.seed)
    if not 0 <= config.rows <= 96:
        raise UsageError(f"--rows {config.rows}: it must be in 0 to 96.")
    for option, ending in (("output", ".csv"), ("picture", ".png")):
        given = config[option]
        if given is None:
            continue
        if Path(given).suffix != ending:
            raise UsageError(f'--{option} "{given}": the file must end in {ending}.')
        _check_place(option, Path(given))


def _check_place(option: str, path: Path) -> None:
    """Refuse a file that could not be written at the end."""
    if path.is_dir():
        raise UsageError(f'--{option} "{path}" is a folder: give the name of a file in it.')
    check_folder(f"--{option}: the folder of the file,", path.parent)


def _picture_file(config: Any, encoder: "Encoder", data: "SSLDataModule") -> Path | None:
    from sslbolts.evaluation.features import data_name
    from sslbolts.evaluation.result import result_path

    if config.rows == 0:
        return None
    if config.picture is not None:
        return Path(config.picture)
    path = result_path(encoder.source, "pictures", data_name(data)).parent.parent / "pictures" / "duplicates.png"
    check_folder("--picture is not given, and the folder beside the source,", path.parent)
    return path


def _show(found: "Duplicates", threshold: float) -> None:
    from rich.console import Console

    console = Console()
    listed, images = len(found.pairs.first), len(found.places)
    shown = table(found)
    if listed:
        console.print(TextTable(shown.columns, shown.rows[:_MOST_ROWS], numbers=shown.numbers))
    lines = [f"Pairs of a similarity of {threshold:g} or more among {images:,} images: {found.pairs.found:,}."]
    if len(shown.rows) > _MOST_ROWS:
        lines.append(f"The first {_MOST_ROWS} lines are shown; --output FILE.csv has all {listed:,} pairs.")
    if listed < found.pairs.found:
        lines.append(f"The {listed:,} nearest are listed and grouped: --max_pairs takes more, --threshold fewer.")
    lines.append(f"Two of these images have a similarity of {found.mean_similarity:.3f} on average.")
    if found.mean_similarity >= threshold:
        lines.append(
            "That is above the threshold, which so tells nothing: train longer, or give a greater --threshold."
        )
    if found.across:
        lines.append(f"Pairs across two splits: {found.across:,}. Validation or test has what training has seen.")
    if found.unreadable:
        lines.append(f"Images that could not be read and are left out: {found.unreadable:,}.")
    for line in lines:
        console.print(line, highlight=False, markup=False)


def _write(found: "Duplicates", path: Path) -> Path:
    from sslbolts.checks import write_text

    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["group", "similarity", "first", "second", "first split", "second split"])
    for group, a, b, value in zip(
        found.groups.tolist(), found.pairs.first.tolist(), found.pairs.second.tolist(), found.pairs.similarity.tolist()
    ):
        first, second = found.places[a], found.places[b]
        names = [os.fsencode(p.path or p.name).decode("utf-8", "backslashreplace") for p in (first, second)]
        rows.writerow([group + 1, f"{value:.6f}", *names, first.split, second.split])
    write_text(path, text.getvalue())
    return path


def _draw(found: "Duplicates", encoder: "Encoder", data: "SSLDataModule", path: Path, config: Any) -> Path:
    from sslbolts.evaluation.duplicates import shown
    from sslbolts.evaluation.features import data_name
    from sslbolts.evaluation.identity import data_identity
    from sslbolts.pictures.duplicates import draw_duplicates
    from sslbolts.pictures.style import digest_of, free_picture, save, thumbnails

    rows = list(zip(found.pairs.first.tolist(), found.pairs.second.tolist()))[: config.rows]
    places = [(found.places[a], found.places[b]) for a, b in rows]
    images = {place: thumbnails(shown(data, place)[None])[0] for pair in places for place in pair}
    digest = digest_of(encoder.digest, data_identity(data), config.threshold, config.max_pairs, config.rows)
    figure = draw_duplicates(
        [(images[a], images[b]) for a, b in places],
        [(Path(a.name).name, Path(b.name).name) for a, b in places],
        found.pairs.similarity[: len(rows)].tolist(),
        title=f"Nearest pairs by {encoder.name} on {data_name(data)}",
        color_channels=data.color_channels,
        stretch=data.value_range is not None,
    )
    return save(figure, free_picture(path, digest), digest=digest)
