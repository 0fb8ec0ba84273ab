"""Files of features: found again for the same network, images and preprocessing, and for nothing else."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sslbolts._lightning import rank_zero_warn
from sslbolts.errors import UsageError
from sslbolts.evaluation.fingerprint import fingerprint

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
    """Write tensors by name; another process sees the whole file or none."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.part")
    save_file({name: column.contiguous() for name, column in columns.items()}, unfinished)
    unfinished.replace(file)


def load_columns(file: Path, names: tuple[str, ...]) -> list[Tensor]:
    """The tensors that :func:`save_columns` wrote.

    Raises:
        UsageError: if the file is another, or broken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        columns = load_file(file)
        return [columns[name] for name in names]
    except (SafetensorError, KeyError) as error:
        raise UsageError(f'the cached features "{file}" cannot be read ({error}): delete the file.') from error
