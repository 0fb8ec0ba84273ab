"""Images with boxes, in the folders and XML files of PASCAL VOC."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sslbolts.checks import read_regular
from sslbolts.data.decode import opened
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.evaluation.transfer.sets import VOC_CLASSES
from sslbolts.progress import late_bar

__all__ = ["VOCBoxes", "collate_boxes"]

Item = tuple[Tensor, dict[str, Tensor]]


class VOCBoxes(Dataset[Item]):
    """Images and their boxes as torchvision's detectors take them.

    Item ``i`` is an image ``(C, H, W)``, float in [0, 1], and a dictionary of ``boxes`` ``(n, 4)`` (x1, y1, x2, y2 in
    pixels from 0), ``labels`` ``(n,)`` from 1 (0 is the background), ``iscrowd`` ``(n,)`` (1 for an object marked
    difficult, which counts neither way) and ``image_id`` ``(1,)``.

    Args:
        root: folder of one set, with ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``; or one with several sets.
        splits: ``"FILE"`` of ``ImageSets/Main``, or ``"SET:FILE"`` where ``root`` has several, e.g.
            ``["VOC2007:trainval", "VOC2012:trainval"]``.
        classes: names in the order of the labels; None is VOC's twenty if there are no others, else all names, sorted.
        in_chans: 1 or 3.

    Raises:
        UsageError: if a folder, a split or a class is not there, or an XML file cannot be read.
    """

    def __init__(
        self, root: str | Path, splits: Sequence[str], *, classes: Sequence[str] | None = None, in_chans: int = 3
    ) -> None:
        self.files: list[Path] = []
        self._mode = "L" if in_chans == 1 else "RGB"
        self._objects: list[list[tuple[str, list[float], bool]]] = []
        for split in splits:
            folder, names = _listed(Path(root), split)
            for name in late_bar(names, f"Boxes of {split}"):
                image, objects = _read(folder, name)
                self.files.append(image)
                self._objects.append(objects)
        if not self.files:
            raise UsageError(f'"{root}" has no images in {", ".join(splits) or "no split"}.')
        there = sorted({name for objects in self._objects for name, _, _ in objects})
        if classes is None:
            classes = VOC_CLASSES if set(there) <= set(VOC_CLASSES) else there
        self.classes = tuple(classes)
        unknown = [name for name in there if name not in self.classes]
        if unknown:
            raise UsageError(
                f'"{root}" has boxes of "{unknown[0]}", and the classes are {", ".join(self.classes)}: give classes= '
                "that has them all."
            )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Item:
        from torchvision.transforms.v2 import functional

        try:
            with opened(read_regular(self.files[index])) as file:
                image = functional.to_dtype(functional.pil_to_tensor(file.convert(self._mode)), scale=True)
        except (OSError, ValueError) as error:
            raise UsageError(f'the image "{self.files[index]}" cannot be read: {error}.') from error
        objects = self._objects[index]
        boxes = torch.tensor([box for _, box, _ in objects]).reshape(-1, 4)
        return image, {
            "boxes": boxes,
            "labels": torch.tensor([1 + self.classes.index(name) for name, _, _ in objects], dtype=torch.int64),
            "iscrowd": torch.tensor([difficult for _, _, difficult in objects], dtype=torch.int64),
            "image_id": torch.tensor([index]),
        }


def collate_boxes(items: Sequence[Item]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A batch as lists, since images and numbers of boxes differ."""
    return [image for image, _ in items], [target for _, target in items]


def _listed(root: Path, split: str) -> tuple[Path, list[str]]:
    """Folder and names of the images of a split."""
    which, _, name = split.rpartition(":")
    folder = root / which if which else root
    path = folder / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        sets = [p.name for p in root.iterdir() if (p / "ImageSets").is_dir()] if root.is_dir() else []
        files = [p.stem for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(name, files) if files else did_you_mean(which, sets)
        has = (
            f" The folder has the sets {', '.join(sorted(sets))}: name one, as in {sorted(sets)[0]}:{name}."
            if sets
            else ""
        )
        raise UsageError(f'there is no "{path}", so no split "{split}".{hint or has}')
    lines = [line.split() for line in read_regular(path).decode().splitlines()]
    return folder, [line[0] for line in lines if line]


def _read(folder: Path, name: str) -> tuple[Path, list[tuple[str, list[float], bool]]]:
    path = folder / "Annotations" / f"{name}.xml"
    try:
        tree = ElementTree.fromstring(read_regular(path))
        objects = [_object(item) for item in tree.iter("object")]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise UsageError(f'the boxes "{path}" cannot be read: {error}.') from error
    images = [folder / "JPEGImages" / f"{name}{ending}" for ending in (".jpg", ".png", ".jpeg")]
    return next((image for image in images if image.is_file()), images[0]), objects


def _object(item: Any) -> tuple[str, list[float], bool]:
    corners = {corner: item.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")}
    name = item.findtext("name")
    if name is None or None in corners.values():
        raise ValueError("an object has no name or no box")
    x1, y1, x2, y2 = (float(value) for value in corners.values())
    # Pixels are counted from 1, and the last one belongs to the box.
    return name, [x1 - 1, y1 - 1, x2, y2], item.findtext("difficult", "0").strip() == "1"
