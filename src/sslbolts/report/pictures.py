"""The pictures of a run on its page."""

import base64
import math
import mimetypes
import re
from collections.abc import Sequence
from itertools import groupby, zip_longest

from sslbolts.checks import read_regular
from sslbolts.data.decode import opened
from sslbolts.report.layout import Markup, render
from sslbolts.report.run import LARGEST_PICTURE, Picture, Run

__all__ = ["name_of_picture", "pictures"]

_TITLES = {
    "neighbors": "Nearest neighbors",
    "embedding": "Features in two dimensions",
    "clusters": "Clusters",
    "attention": "Attention",
    "augmentations": "Augmentation",
    "curves": "Curves, as the run drew them",
    "reconstructions": "Reconstructions",
    "nearest_words": "Nearest words",
}
_OF_EVALUATIONS = {
    "diagnose": "Confused classes",
    "label-efficiency": "Accuracy over labels per class",
}
_MOST_EARLIER = 5  # pictures of a kind besides the last
_MOST_BYTES = 32 * 2**20  # of all pictures; base64 adds a third


def pictures(run: Run, *, share: int = 1) -> list[Markup]:
    """The pictures of a run, each embedded; of one drawn at several epochs the last, and some others to unfold.

    A picture of the curves is left out where the page draws them from the log.

    Args:
        run: whose pictures.
        share: of so many runs on the page, which has room for 32 MB of pictures.
    """
    order = list(_TITLES)
    there = [picture for picture in run.pictures if picture.name != "curves" or not run.metrics]
    known = sorted(there, key=lambda p: (order.index(p.name) if p.name in order else len(order), p.name))
    groups = [
        sorted(group, key=lambda picture: math.inf if picture.epoch is None else picture.epoch)
        for _, group in groupby(known, key=lambda picture: picture.name)
    ]
    # The last of each kind come first, then the earlier ones of each in turn.
    wanted = [versions[-1] for versions in groups]
    turns = zip_longest(*(_spread(versions[:-1]) for versions in groups))
    wanted += [picture for turn in turns for picture in turn if picture is not None]
    room, kept = _MOST_BYTES // share, set()
    for picture in wanted:
        size = picture.path.stat().st_size
        if size <= room:
            room -= size
            kept.add(picture)
    parts = []
    for versions in groups:
        name = name_of_picture(versions[0].name)
        if versions[-1] in kept:
            parts.append(_sheet(versions[-1]))
        earlier = [_sheet(picture) for picture in versions[:-1] if picture in kept]
        if earlier:
            some = "" if len(earlier) == len(versions) - 1 else f", {len(earlier)} of {len(versions) - 1}"
            parts.append(render("details", summary=f"{name}: earlier epochs{some}", parts=earlier))
    if left := len(there) - len(kept):
        said = f"{left:,} of {len(there):,} pictures are left out here; the run's folder has all."
        parts.append(render("paragraph", text=said))
    return parts


def name_of_picture(name: str) -> str:
    """In words.

    Example:
        >>> name_of_picture("neighbors"), name_of_picture("diagnose-CIFAR10Mini-last-confusion")
        ('Nearest neighbors', 'Confused classes, CIFAR10Mini, last')
        >>> name_of_picture("validate-embedding"), name_of_picture("clusters-0123abcd")
        ('Features in two dimensions, validate', 'Clusters (0123abcd)')
    """
    if digest := re.fullmatch(r"(.+)-([0-9a-f]{8})", name):  # one of several data sets or settings
        return f"{name_of_picture(digest[1])} ({digest[2]})"
    if digest := re.fullmatch(r"(.+)-([0-9a-f]{8})-confusion", name):
        return f"{name_of_picture(f'{digest[1]}-confusion')} ({digest[2]})"
    for protocol, title in _OF_EVALUATIONS.items():
        if name.startswith(f"{protocol}-"):
            words = name.removeprefix(f"{protocol}-").removesuffix("-confusion").split("-")
            return ", ".join([title, *words])
    stage, _, rest = name.partition("-")
    if rest in _TITLES:  # drawn by Trainer.validate or Trainer.test
        return f"{_TITLES[rest]}, {stage}"
    return _TITLES.get(name) or name[:1].upper() + name[1:].replace("_", " ")


def _spread(versions: Sequence[Picture]) -> list[Picture]:
    """The first, and others at equal distances."""
    if len(versions) <= _MOST_EARLIER:
        return list(versions)
    return [versions[place * len(versions) // _MOST_EARLIER] for place in range(_MOST_EARLIER)]


def _sheet(picture: Picture) -> Markup:
    kind = mimetypes.guess_type(picture.path.name)[0] or "image/png"
    try:
        content = read_regular(picture.path, LARGEST_PICTURE)
    except OSError as error:
        return render("paragraph", text=f"{picture.path.name} cannot be read: {error}.")
    return render(
        "sheet",
        title=name_of_picture(picture.name),
        epoch=picture.epoch,
        source=f"data:{kind};base64,{base64.b64encode(content).decode()}",
        file=picture.path.name,
        size=_size(content),
    )


def _size(content: bytes) -> tuple[int, int] | None:
    """Width and height as the page shows it: pictures are drawn at 130 dots per inch, for sharp screens."""
    try:
        with opened(content) as picture:
            width, height = (round(side * 96 / 130) for side in picture.size)
            return width, height
    except (OSError, ValueError, SyntaxError):
        return None
