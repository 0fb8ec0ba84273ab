"""Files of features: found again for the same network, images and preprocessing, and for nothing else."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import rank_zero_warn
from sslbolts.checks import whole_file
from sslbolts.errors import UsageError, first_line
from sslbolts.evaluation.fingerprint import fingerprint
from sslbolts.readouts.checks import is_finite

__all__ = ["feature_file", "load_columns", "save_columns"]


def feature_file(
    folder: str | Path, dataset: Any, *, digest: str, words: tuple[str, ...], preprocessing: Mapping[str, Any]
) -> Path | None:
    """The file in which features belong; None where it cannot be told whether the images are the same again.

    Args:
        folder: of the cache.
        dataset: the images of the split.
        digest: of the network.
        words: name of the network, its layer, name of the data, and the split.
        preprocessing: of an image.

    Raises:
        UsageError: for data without length.
    """
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__") or len(dataset) == 0:
        raise UsageError("features of data without length cannot be kept in a cache: leave it out.")
    images = fingerprint(dataset)
    if images is None:
        rank_zero_warn(
            f"features of {words[2]} are not kept: what its items hold besides tensors, arrays, images, numbers and "
            "text cannot be compared with what they held."
        )
        return None
    key = hashlib.sha256(f"{digest} {images} {words[3]} {preprocessing}".encode()).hexdigest()
    return Path(folder) / (re.sub(r"[^\w.-]+", "_", "-".join((*words, key[:16]))) + ".safetensors")


def save_columns(columns: Mapping[str, Tensor], file: Path) -> None:
    """Write tensors by name; another process sees the whole file or none. Where there is no room, a warning says so."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with whole_file(file, (SafetensorError,)) as unfinished:
            save_file({name: column.contiguous() for name, column in columns.items()}, unfinished)
    except UsageError as error:  # the features are there, and are not to be lost
        reason = getattr(error.__cause__, "strerror", None) or str(error.__cause__)
        # The same words for every file of the folder, so that Python shows them once.
        rank_zero_warn(f"features are not kept: {file.parent} could not be written to: {reason}.")


def load_columns(file: Path, dataset: Any, width: int) -> list[Tensor] | None:
    """Features, labels and rows that :func:`save_columns` wrote; None, with a warning, where they cannot be the right.

    Args:
        file: of :func:`feature_file`.
        dataset: the images of the split.
        width: number of features of an image.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if not file.is_file():  # a pipe would be waited for
            raise OSError("it is no regular file")
        columns = load_file(file)
        features, targets, rows = (columns[name] for name in ("features", "targets", "indices"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        wrong: str | None = first_line(error)
    else:
        wrong = _mistake(features, targets, rows, dataset, width)
        if wrong is None:
            return [features, targets, rows]
    rank_zero_warn(f'the cached features "{file}" are not used, and are computed again: {wrong}.')
    return None


def _mistake(features: Tensor, targets: Tensor, rows: Tensor, dataset: Any, width: int) -> str | None:
    """The reason why these cannot be the features, labels and rows of a data set; None if they can."""
    size = len(dataset)
    if features.dtype != torch.float32 or targets.dtype != torch.int64 or rows.dtype != torch.int64:
        return f"they are of the types {features.dtype}, {targets.dtype} and {rows.dtype}"
    if features.ndim != 2 or features.shape[1] != width or targets.ndim not in (1, 2) or rows.ndim != 1:
        return f"they are of the shapes {tuple(features.shape)}, {tuple(targets.shape)} and {tuple(rows.shape)}"
    if not len(features) == len(targets) == len(rows) <= size:
        return f"they are {len(features):,} rows, {len(targets):,} labels and {len(rows):,} numbers of {size:,} images"
    if not bool(is_finite(features).all()):
        return "some are not finite"
    if bool((targets < -1).any() | (rows < 0).any() | (rows >= size).any() | (rows.diff() <= 0).any()):
        return "their labels or rows are none"
    missing = sorted(set(range(size)) - set(rows.tolist())) if len(rows) < size else []
    if any(dataset[row] is not None for row in missing):  # those that cannot be read are left out
        return f"{len(missing):,} of {size:,} images are missing"
    return None
