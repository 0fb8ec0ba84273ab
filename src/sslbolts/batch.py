"""The one batch type that training steps receive, and what is read from batches of others."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sslbolts.checks.labels import as_labels
from sslbolts.checks.multi_hot import as_multi_hot
from sslbolts.errors import UsageError

__all__ = [
    "TextBatch",
    "ViewBatch",
    "class_labels",
    "given_targets",
    "images_of",
    "indices_of",
    "multi_hot_labels",
    "targets_of",
]

_IMAGES = ("image", "images", "pixel_values", "x", "input", "inputs")
_TARGETS = ("target", "targets", "label", "labels", "y")
_INDICES = ("index", "indices", "idx")


class ViewBatch(NamedTuple):
    """Several random views of the same images.

    Lightning moves it between devices, and a DataLoader pins and collates it, as the named tuple that it is.

    Attributes:
        views: one tensor per view, each ``(B, C, H_v, W_v)``: float, augmented and normalized, by the time a training
            step sees it (``uint8`` where the photometric part is still to be done on the device).
        targets: ``(B,)`` int64 class labels, -1 where an image has none; where the data declares several classes per
            image (``multi_label``), ``(B, C)`` float32 of 1, 0, and -1 for what is not known.
        indices: ``(B,)`` int64 row of each image in its dataset.

    Example:
        >>> import torch
        >>> batch = ViewBatch([torch.rand(8, 3, 32, 32)] * 2, torch.full((8,), -1), torch.arange(8))
        >>> len(batch.views), tuple(batch.targets.shape)
        (2, (8,))
    """

    views: list[Tensor]
    targets: Tensor
    indices: Tensor


class TextBatch(NamedTuple):
    """Pieces of a text, for training and for evaluation.

    Attributes:
        ids: ``(B, L)`` int64 words by their place in the vocabulary, in which 0 is the end of a sentence; -1 behind
            the last word of the text.
        targets: ``(B,)`` int64, -1: there are no labels.
        indices: ``(B,)`` int64 row of each piece.
    """

    ids: Tensor
    targets: Tensor
    indices: Tensor


def images_of(batch: Any) -> Tensor:
    """The network's input: of ViewBatch the first view, of ``(x, ...)`` the first item, of names the images.

    Mappings, named tuples and dataclasses have names.

    Example:
        >>> images_of((torch.zeros(4, 3, 8, 8), torch.arange(4))).shape
        torch.Size([4, 3, 8, 8])
    """
    if isinstance(batch, ViewBatch):
        return batch.views[0]
    found = _find(batch, 0, _IMAGES)
    if isinstance(found, list | tuple) and found:
        found = found[0]
    if isinstance(found, Tensor) and (found.ndim > 1 or found.is_floating_point()):  # else they are indices
        return found
    raise UsageError(
        f"no images are found in a batch of type {_describe(batch)}: batches are (images, targets, ...), ViewBatch, or "
        f"a mapping with one of {', '.join(_IMAGES)}. For others pass features= a callable (module, batch, outputs)."
    )


def targets_of(batch: Any) -> Tensor:
    """Labels ``(B,)`` int64: of ViewBatch, of ``(x, y, ...)`` the second item, of names the labels.

    Mappings, named tuples and dataclasses have names.

    Example:
        >>> targets_of((torch.zeros(4, 3, 8, 8), torch.arange(4)))
        tensor([0, 1, 2, 3])
    """
    return class_labels(given_targets(batch))


def given_targets(batch: Any) -> Any:
    """The labels of a batch as they are, of whatever form.

    Raises:
        UsageError: if there are none.

    Example:
        >>> given_targets({"x": torch.zeros(2, 3), "y": torch.eye(2)}).shape
        torch.Size([2, 2])
    """
    found = batch.targets if isinstance(batch, ViewBatch) else _find(batch, 1, _TARGETS)
    if found is None:
        raise UsageError(
            f"no labels are found in a batch of type {_describe(batch)}: batches are (images, targets, ...), "
            f"ViewBatch, or a mapping with one of {', '.join(_TARGETS)}. Pass targets= a callable on the batch for "
            "others."
        )
    return found


def class_labels(found: Any) -> Tensor:
    """Labels ``(B,)`` int64 of what a callable makes of a batch.

    Args:
        found: a tensor, an array or a list; see :func:`~sslbolts.checks.labels.as_labels`.

    Raises:
        UsageError: for what means no class, or several; the message says what was given.

    Example:
        >>> class_labels([[3], [-1]]), class_labels(torch.tensor([True, False]))
        (tensor([ 3, -1]), tensor([1, 0]))
    """
    try:
        return as_labels(found)
    except UsageError as error:
        raise UsageError(f"the labels of a batch have {_form(found)}: {error}") from None


def multi_hot_labels(found: Any, classes: int | None = None) -> Tensor:
    """Rows ``(B, C)`` of several classes of what a callable makes of a batch.

    Args:
        found: a tensor, an array or a list; see :func:`~sslbolts.checks.multi_hot.as_multi_hot`.
        classes: `C`, if it is known.

    Raises:
        UsageError: for another shape; the message says it.

    Example:
        >>> multi_hot_labels(torch.tensor([[True, True, False]]))
        tensor([[1., 1., 0.]])
    """
    try:
        return as_multi_hot(found, classes=classes)
    except UsageError as error:
        raise UsageError(f"the labels of a batch have {_form(found)}: {error}") from None


def indices_of(batch: Any) -> Tensor | None:
    """Rows of the dataset ``(B,)`` if the batch carries them: of ViewBatch, or the third item of ``(x, y, index)``.

    Example:
        >>> indices_of((torch.zeros(2, 3), torch.arange(2))) is None
        True
    """
    found = batch.indices if isinstance(batch, ViewBatch) else _find(batch, 2, _INDICES)
    return found if isinstance(found, Tensor) and found.ndim == 1 and found.dtype == torch.int64 else None


def _form(found: Any) -> str:
    if hasattr(found, "dtype"):
        return f"shape {tuple(found.shape)} and {found.dtype}"
    return f"type {type(found).__name__}"


def _find(batch: Any, position: int, names: tuple[str, ...]) -> Any:
    if isinstance(batch, Tensor):
        return batch if position == 0 else None
    if isinstance(batch, Mapping):
        return next((batch[name] for name in names if name in batch), None)
    fields = getattr(batch, "_fields", getattr(batch, "__dataclass_fields__", ()))
    if name := next((name for name in names if name in fields), None):  # whatever their order
        return getattr(batch, name)
    if isinstance(batch, list | tuple):
        return batch[position] if len(batch) > position else None
    return None


def _describe(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"{type(batch).__name__} with keys {', '.join(map(str, batch))}"
    if isinstance(batch, list | tuple):
        return f"{type(batch).__name__} of {len(batch)}"
    return type(batch).__name__
