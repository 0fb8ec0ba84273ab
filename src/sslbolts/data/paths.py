"""The files that the images of a dataset lie in."""

import os
from typing import Any

from torch.utils.data import Subset

from sslbolts.data.dataset import DatasetImages
from sslbolts.data.evaluation import EvaluationImages
from sslbolts.data.images import SomeImages

__all__ = ["paths_of"]


def paths_of(dataset: Any) -> list[str] | None:
    """The file of each image of a dataset, in its order; None where that is not known.

    Known are the datasets of :mod:`sslbolts.data`, subsets, and others with ``paths``, or with pairs of a path and
    anything as ``samples`` or ``imgs`` (as torchvision's ImageFolder has them).

    Args:
        dataset: of a loader, or images of a DataModule.

    Example:
        >>> from sslbolts.data.files import FileImages
        >>> from sslbolts.data.pixels import PixelForm
        >>> files = FileImages(["a.png", "b.png"], [-1, -1], form=PixelForm(), on_bad_image="raise")
        >>> paths_of(Subset(files, [1])), paths_of([1, 2])
        (['b.png'], None)
    """
    if isinstance(dataset, EvaluationImages):
        return paths_of(dataset.images)
    if isinstance(dataset, DatasetImages):
        return paths_of(dataset.dataset)
    if isinstance(dataset, SomeImages):
        of_all, rows = paths_of(dataset.images), dataset.rows
        return None if of_all is None else [of_all[row] for row in rows]
    if isinstance(dataset, Subset):
        of_all = paths_of(dataset.dataset)
        return None if of_all is None else [of_all[row] for row in dataset.indices]
    listed = (getattr(dataset, name, None) for name in ("paths", "samples", "imgs"))
    found = next((part for part in listed if isinstance(part, list | tuple)), None)
    if found is None or len(found) != len(dataset):
        return None
    paths = [item[0] if isinstance(item, list | tuple) and item else item for item in found]
    return [os.fspath(path) for path in paths] if all(isinstance(path, str | os.PathLike) for path in paths) else None
