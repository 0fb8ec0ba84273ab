"""Label efficiency: frozen features beside the same network trained from scratch, at several numbers of labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from sslbolts.checks import one_of, whole
from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.few_label import few_label_rows, listed_rows, on_few_features
from sslbolts.evaluation.fine_tuning.run import evaluate_finetune
from sslbolts.evaluation.fine_tuning.settings import FineTuneSettings, fine_tune_settings
from sslbolts.evaluation.initialization import initialized
from sslbolts.evaluation.result import Found, Result
from sslbolts.evaluation.splits import labeled_splits, training_targets

__all__ = ["evaluate_label_efficiency"]

_CLASSIFIERS = ("logistic", "linear")
_PER_COUNT = ("data", "initialization", "images", "epochs", "seed")  # settings that are said elsewhere


def evaluate_label_efficiency(
    encoder: Encoder,
    data: Any,
    *,
    per_class: Sequence[int] = (20, 100, 400),
    classifier: str = "logistic",
    settings: str | FineTuneSettings = "rotnet_supervised",
    steps: int = 2000,
    devices: int = 1,
    precision: str = "32-true",
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
    **changes: Any,
) -> Result:
    """Accuracy over labels: a classifier on frozen features, and the same network trained from random weights.

    Both learn from the same labeled images, and each number of labels has those of the smaller ones among its own. The
    network from scratch takes as many steps at every number of labels, as in the paper.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`; the network from scratch is its backbone, drawn anew.
        data: a DataModule of sslbolts with labels; its batch size is used.
        per_class: numbers of labeled images of every class, ascending. The paper has 20, 100, 400, 1000 and all.
        classifier: on features: "logistic", its penalty chosen by cross-validation on the labeled images, or "linear",
            a probe by the settings "features"; see :func:`~sslbolts.evaluation.few_label.evaluate_few_label`.
        settings: of the network from scratch, one of
            :data:`~sslbolts.evaluation.fine_tuning.settings.FINE_TUNE_SETTINGS` or your own.
        steps: optimizer steps from scratch, at every number of labels; the paper's are about 78,000 of 128 images.
        devices: devices that train.
        precision: of the Trainer, e.g. "16-mixed".
        seed: of everything that is drawn.
        cache: folder of features.
        progress: show progress bars.
        **changes: values in place of the settings' own, e.g. ``lr=0.05``.

    Returns:
        A row per number of labels; ``metrics`` has ``self-supervised/N/top1`` and ``from scratch/N/top1``, in [0, 1].

    Raises:
        UsageError: for numbers that are not ascending or that a class does not have, or data without labels.

    Source: the figure of Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
    arXiv:1803.07728, there with a classifier of convolutions on the maps of the second block.

    Example:
        >>> import torch
        >>> from sslbolts.data import DatasetDataModule
        >>> from sslbolts.evaluation import load_encoder
        >>> images = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8)
        >>> data = torch.utils.data.TensorDataset(images, torch.arange(24) % 3)
        >>> module = DatasetDataModule(data, val=data, num_classes=3, batch_size=8, num_workers=0)
        >>> encoder = load_encoder("timm/resnet10t", pretrained=False, device="cpu")
        >>> result = evaluate_label_efficiency(encoder, module, per_class=[1, 4], steps=1, progress=False)
        >>> [row["images"] for row in result.rows]
        [3, 12]
    """
    one_of(_CLASSIFIERS, classifier=classifier)
    counts = _checked(per_class)
    whole(steps=steps)
    if "epochs" in changes:
        raise UsageError("every number of labels takes as many steps: give steps= in place of epochs=.")
    if settings != "auto":
        fine_tune_settings(settings, **changes)
    subject = EncodedData(encoder, data, cache=cache)
    few_label_rows(training_targets(subject.module), per_class=counts[-1], seed=seed)  # too few are told now
    drawn = initialized(replace(encoder, teacher=False), "random", seed=seed)
    scratch = replace(drawn, layer="backbone")

    train = partial(
        evaluate_finetune,
        scratch,
        data,
        settings=settings,
        steps=steps,
        devices=devices,
        precision=precision,
        seed=seed,
        progress=progress,
        **changes,
    )
    splits = labeled_splits(subject)
    pairs = []
    for count in counts:
        chosen = splits.indices[few_label_rows(splits.y, per_class=count, seed=seed)]
        frozen = on_few_features(splits, chosen, classifier=classifier, seed=seed, device=encoder.device)
        pairs.append(_Pair(count, chosen, frozen, train(rows=chosen)))

    result = subject.result(
        "label-efficiency",
        {f"self-supervised/{pair.per_class}/top1": pair.frozen.metrics["top1"] for pair in pairs}
        | {f"from scratch/{pair.per_class}/top1": pair.scratch.metrics["top1"] for pair in pairs},
        {
            "labels": f"{', '.join(map(str, counts))} of every class, seed {seed}: the same images for both, each "
            "number with those of the smaller ones",
            **splits.settings,
            "classifier": f"{classifier}, on frozen features",
            **_frozen_in_words(pairs),
            "from scratch": {"network": drawn.description, **_scratch_in_words(pairs)},
        },
        [pair.row for pair in pairs],
        [
            f"from scratch: {steps:,} steps at every number of labels; the paper's are about 78,000 of 128 images (200 "
            "epochs of 50,000). More steps may serve many labels better.",
            *subject.notes,
        ],
    )
    return replace(result, beside={f".{pair.per_class}.txt": pair.listed(seed) for pair in pairs})


@dataclass(frozen=True)
class _Pair:
    """Two classifiers from the same labeled images.

    Attributes:
        per_class: labeled images of every class.
        chosen: their rows in the data set.
        frozen: on features.
        scratch: the network trained from random weights.
    """

    per_class: int
    chosen: Tensor
    frozen: Found
    scratch: Result

    @property
    def row(self) -> dict[str, Any]:
        return {
            "labels per class": self.per_class,
            "images": len(self.chosen),
            "self-supervised top1": self.frozen.metrics["top1"],
            "from scratch top1": self.scratch.metrics["top1"],
        }

    def listed(self, seed: int) -> str:
        """A file of the labeled images."""
        what = f"{self.per_class} of every class, {len(self.chosen)} images"
        return listed_rows(self.chosen, what=what, seed=seed)


def _frozen_in_words(pairs: Sequence[_Pair]) -> dict[str, Any]:
    """The settings of the classifiers on features; the penalty is that of each number of labels."""
    each = {str(pair.per_class): pair.frozen.settings for pair in pairs}
    penalties = {count: found["penalty per image"] for count, found in each.items() if "penalty per image" in found}
    common = {name: value for name, value in pairs[-1].frozen.settings.items() if not name.startswith("penalty")}
    return ({"penalty per image": penalties} if penalties else {}) | common


def _scratch_in_words(pairs: Sequence[_Pair]) -> dict[str, Any]:
    """The settings of the networks from scratch; the passes are those of each number of labels."""
    return {
        **{name: value for name, value in pairs[-1].scratch.settings.items() if name not in _PER_COUNT},
        "features": "backbone with a linear head, all weights trained",
        "passes over the labeled images": {str(pair.per_class): pair.scratch.settings["epochs"] for pair in pairs},
    }


def _checked(per_class: Sequence[int]) -> list[int]:
    counts = list(per_class)
    if not counts:
        raise UsageError("per_class is empty: give one or more numbers of labels per class.")
    for count in counts:
        whole(per_class=count)
    if any(second <= first for first, second in pairwise(counts)):
        said = ", ".join(map(str, counts))
        raise UsageError(f"per_class={said}: the numbers of labels must ascend, each given once.")
    return counts
