"""Average precision of detections: by COCO's rule, and by that of the VOC challenge of 2007."""

from typing import Any

import torch
from torch import Tensor

from sslbolts.errors import UsageError

__all__ = ["coco_metric", "coco_precision", "voc_precision"]

OVERLAPS = tuple(percent / 100 for percent in range(50, 100, 5))


def coco_precision(images: Tensor, found: Tensor, true: Tensor) -> dict[str, float]:
    """Mean average precision as COCO counts it, by torchmetrics: the mean of the precision at 101 recalls.

    A detection that lies within a box that counts neither way does not count either.

    Args:
        images: ``(I, 2)``: image, and the process that saw it; an image counts where the first process saw it.
        found: ``(N, 8)`` rows of process, image, box, label and score.
        true: ``(M, 8)`` rows of process, image, box, label, and 1 for a box that counts neither way.

    Returns:
        ``map`` (mean over overlaps of 0.5, 0.55, ..., 0.95), ``map50`` and ``map75``, in [0, 1]; -1 without any box.

    Raises:
        UsageError: if torchmetrics lacks the package that it counts with.

    Example:
        >>> box = [0.0, 0.0, 9.0, 9.0]
        >>> found, true = torch.tensor([[0.0, 0.0, *box, 1.0, 0.9]]), torch.tensor([[0.0, 0.0, *box, 1.0, 0.0]])
        >>> round(coco_precision(torch.zeros(1, 2), found, true)["map"], 3)
        1.0
    """
    metric = coco_metric()
    for mine, theirs in _by_image(images, found, true):
        metric.update(
            [{"boxes": mine[:, 2:6].float(), "labels": mine[:, 6].long(), "scores": mine[:, 7].float()}],
            [{"boxes": theirs[:, 2:6].float(), "labels": theirs[:, 6].long(), "iscrowd": theirs[:, 7].long()}],
        )
    values = metric.compute()
    return {name: float(values[key]) for name, key in (("map", "map"), ("map50", "map_50"), ("map75", "map_75"))}


def voc_precision(images: Tensor, found: Tensor, true: Tensor) -> dict[str, float]:
    """Mean average precision as the VOC challenge of 2007 counts it: the mean of the precision at 11 recalls.

    A detection belongs to the box of its class that it overlaps most, by intersection over union. Above the overlap
    that is asked for, the surest one of a box is right and the others are wrong; one of a difficult box counts neither
    way. What overlaps no box so far is wrong. Classes without a box, or with difficult ones only, are left out.

    Args:
        images: as in :func:`coco_precision`.
        found: as in :func:`coco_precision`.
        true: as in :func:`coco_precision`, with 1 for a difficult box.

    Returns:
        ``voc07/map50``, of the challenge, ``voc07/map75``, and ``voc07/map``, over the ten overlaps of COCO; -1 without
        any box.

    Source: Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010; with other overlaps than 0.5 it is
    what detectron2 reports for VOC 2007, and MoCo's table has.

    Example:
        >>> box = [0.0, 0.0, 9.0, 9.0]
        >>> found, true = torch.tensor([[0.0, 0.0, *box, 1.0, 0.9]]), torch.tensor([[0.0, 0.0, *box, 1.0, 0.0]])
        >>> round(voc_precision(torch.zeros(1, 2), found, true)["voc07/map50"], 3)
        1.0
    """
    from torchvision.ops import box_iou

    pairs: dict[int, list[Tensor]] = {}  # of each class: score, overlap, number of the box, whether it is difficult
    positives: dict[int, int] = {}
    boxes = 0
    for mine, theirs in _by_image(images, found, true):
        for label in theirs[theirs[:, 7] == 0][:, 6].int().tolist():
            positives[label] = positives.get(label, 0) + 1
        for label in sorted(set(mine[:, 6].int().tolist())):
            of_class, there = mine[mine[:, 6] == label], theirs[theirs[:, 6] == label]
            overlap, which = torch.zeros(len(of_class)), torch.zeros(len(of_class), dtype=torch.int64)
            difficult = torch.zeros(len(of_class))
            if len(there):
                overlap, which = box_iou(of_class[:, 2:6].float(), there[:, 2:6].float()).max(1)
                difficult = there[which, 7].float()
            columns = [of_class[:, 7].double(), overlap.double(), (which + boxes).double(), difficult.double()]
            pairs.setdefault(label, []).append(torch.stack(columns, 1))
        boxes += len(theirs)
    if not positives:
        return dict.fromkeys(("voc07/map50", "voc07/map75", "voc07/map"), -1.0)
    classes = [(torch.cat([torch.zeros(0, 4), *pairs.get(label, [])]), count) for label, count in positives.items()]
    means = {o: sum(_eleven_points(rows, count, o) for rows, count in classes) / len(classes) for o in OVERLAPS}
    return {
        "voc07/map50": means[0.5],
        "voc07/map75": means[0.75],
        "voc07/map": sum(means.values()) / len(means),
    }


def coco_metric() -> Any:
    """torchmetrics' mean average precision, over whichever of its two packages is there.

    Raises:
        UsageError: if neither is there.
    """
    from importlib.util import find_spec

    backend: Any = next((name for name in ("faster_coco_eval", "pycocotools") if find_spec(name)), None)
    if backend is None:
        raise UsageError(
            'mean average precision needs faster-coco-eval (or pycocotools): pip install "sslbolts[detection]".'
        )
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(backend=backend, sync_on_compute=False)
    metric.warn_on_many_detections = False
    return metric


def _eleven_points(rows: Tensor, positives: int, asked: float) -> float:
    """Average precision of one class: ``rows`` of score, overlap, number of the box, and whether it is difficult."""
    rows = rows[rows[:, 0].argsort(descending=True, stable=True)]
    hit, difficult = rows[:, 1] > asked, rows[:, 3] > 0
    rows, hit = rows[~(hit & difficult)], hit[~(hit & difficult)]
    taken: set[float] = set()
    right = torch.zeros(len(rows), dtype=torch.int64)
    for row in hit.nonzero().squeeze(1).tolist():
        box = float(rows[row, 2])
        right[row] = box not in taken
        taken.add(box)
    right = right.cumsum(0)
    precision = right / torch.arange(1, len(rows) + 1)
    # In whole numbers: a recall of 3 boxes of 10 is not below 0.3.
    reached = [precision[10 * right >= tenths * positives] for tenths in range(11)]
    return sum(float(part.max()) for part in reached if len(part)) / 11


def _by_image(images: Tensor, found: Tensor, true: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Rows of ``found`` and ``true`` of every image, of the first process that saw it."""
    owner: dict[int, int] = {}
    for image, process in sorted((int(image), int(process)) for image, process in images.tolist()):
        owner.setdefault(image, process)
    pairs = []
    for image, process in owner.items():
        mine, theirs = (rows[(rows[:, 0] == process) & (rows[:, 1] == image)] for rows in (found, true))
        pairs.append((mine, theirs))
    return pairs
