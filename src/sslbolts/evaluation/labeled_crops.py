"""A DataModule's labeled images as supervised training wants them: one random crop of each."""

from torch import Tensor

from sslbolts.data import SSLDataModule
from sslbolts.data.arguments import Split
from sslbolts.data.images import chosen
from sslbolts.errors import UsageError
from sslbolts.evaluation.features import EncodedData, refuse_several
from sslbolts.transforms import MultiView, View

__all__ = ["decisive_split", "few_steps", "labeled_crops"]

_MANY_BATCHES = 16
_FEW_STEPS = 10


def labeled_crops(
    subject: EncodedData,
    *,
    seed: int,
    view: View | None = None,
    rows: Tensor | None = None,
    held_out: Tensor | None = None,
    batch_size: int | None = None,
) -> SSLDataModule:
    """A copy of a DataModule whose training batches have one view of each labeled image, normalized for the network.

    Its test images are those of the DataModule, or else its validation images, under evaluation transforms.

    Args:
        subject: the network, and a DataModule of sslbolts, which is not changed.
        seed: of order and crops, where the DataModule was given none.
        view: how a training image is augmented; None is a random resized crop (8 to 100 % of the area, bicubic),
            flipped with probability 1/2.
        rows: positions of the training images to keep, as in :func:`~sslbolts.evaluation.splits.training_targets`; None
            is all, or those with a label where the DataModule was given ``labels_per_class`` or the like.
        held_out: positions of training images for validation instead; None leaves validation as it is.
        batch_size: images per step that training will have, of all devices; None is the DataModule's.

    Raises:
        UsageError: for another DataModule, or one without labels.
    """
    data = subject.module
    data.prepare_data()
    data.setup()
    refuse_several(data)
    if not data.has_images("bank") or not data.images("bank").labeled:
        raise UsageError(f"{type(data).__name__} has no labeled training images, and this protocol needs them.")
    images = data.images("bank")
    if rows is None and data.kept_labels:
        rows = (data.targets("bank") >= 0).nonzero().squeeze(1)
    splits = {"train": images if rows is None else chosen(images, rows), "test": data.images(decisive_split(data))}
    if held_out is not None and len(held_out):
        splits["val"] = chosen(images, held_out)
    mean, std = subject.normalization
    view = view or View(data.image_size, interpolation="bicubic")
    made = data.with_images(**splits).with_seed(seed)
    made = made.with_views(MultiView((view,), normalize=mean is not None), mean=mean, std=std)
    # Of a few images all are used: the last batch is smaller then.
    made.drop_last = data.drop_last and made.num_train_images >= _MANY_BATCHES * (batch_size or data.batch_size)
    return made


def few_steps(images: int, batch_size: int) -> list[str]:
    """A note where batches leave an epoch hardly a step; none elsewhere.

    Args:
        images: that are trained on.
        batch_size: images per step.

    Example:
        >>> few_steps(4500, 256)
        []
    """
    steps = -(-images // batch_size)
    if steps >= _FEW_STEPS:
        return []
    return [
        f"{steps} step{'s' if steps > 1 else ''} per epoch only, of {batch_size:,} images each: the settings are for "
        f"more images than these {images:,}, and a smaller batch_size may serve them better."
    ]


def decisive_split(data: SSLDataModule) -> Split:
    """The split that a protocol's number is from: "test" where it has labeled images, else "val".

    Raises:
        UsageError: if there is neither.
    """
    splits: tuple[Split, ...] = ("test", "val")
    for split in splits:
        if data.has_images(split) and data.images(split).labeled:
            return split
    raise UsageError(f"{type(data).__name__} has no labeled images to measure on, neither for testing nor validation.")
