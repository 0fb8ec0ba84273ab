"""A diagnosis of a representation: features beside embeddings, their information, geometry, clusters, confusions."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbolts.data import SSLDataModule
from sslbolts.data.apart import Apart
from sslbolts.data.sampler import BatchPlan
from sslbolts.data.views import Augment, CroppedViews
from sslbolts.errors import UsageError
from sslbolts.evaluation.diagnosis.distortions import NOISE_STD
from sslbolts.evaluation.diagnosis.drawn_queries import with_queries
from sslbolts.evaluation.diagnosis.information import Reader, chosen_rows, held_information
from sslbolts.evaluation.encoder import Encoder
from sslbolts.evaluation.features import EncodedData, Features, check_features
from sslbolts.evaluation.result import Result
from sslbolts.progress import late_bar
from sslbolts.readouts import (
    adjusted_rand_index,
    alignment,
    area_under_roc,
    class_accuracies,
    class_separation,
    confusion_matrix,
    effective_rank,
    knn_predict,
    matched_accuracy,
    normalized_mutual_information,
    purity,
    rankme,
    uniformity,
)
from sslbolts.readouts.checks import is_finite
from sslbolts.readouts.kmeans import kmeans
from sslbolts.training.seeds import generator, mix

__all__ = ["Diagnosis", "diagnose"]

_NEIGHBORS, _TEMPERATURE = 20, 0.07
_RESTARTS, _ITERATIONS = 5, 30  # of k-means
_VIEWS, _CLUSTERS = 100, 101  # what a seed is for
_ROWS_AT_ONCE = 4096
_PAPER = (
    "what was done to an image is asked as in SimCLR's table 3 (arXiv:2002.05709). There an MLP answers, for a network "
    "that saw rotation, noise and Sobel filtering in training; here a linear classifier, for the network as it is."
)


class Diagnosis(NamedTuple):
    """The numbers and confusions that :func:`diagnose` found.

    Attributes:
        result: all numbers.
        confusion: ``(C, C)`` counts of the features' nearest neighbors, rows the true classes; None without labels.
        class_names: name of each class; None where there are none.
    """

    result: Result
    confusion: Tensor | None
    class_names: list[str] | None


@torch.no_grad()
def diagnose(
    encoder: Encoder,
    data: SSLDataModule,
    *,
    max_images: int = 5000,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Diagnosis:
    """The information in features `h`, and what of it the projector throws away: the same measures of both.

    Metrics are named ``h/...`` and ``g(h)/...``, all of validation images: how often a linear classifier reads from
    them what was done to an image (``rotation/top1``, ..., see :func:`held_information`); 20 nearest neighbors
    (``knn/top1``, and of two classes ``knn/auc``); dimensions used (``rankme``, ``effective_rank``); ``alignment`` and
    ``uniformity`` of two augmented views; ``class_separation``; and how far as many clusters as there are classes are
    the classes (``clusters/purity``, ``nmi``, ``ari``, ``top1``). ``class/NAME/top1`` is how often the neighbors by `h`
    are right on the images of one class.

    Args:
        encoder: of layer "backbone". A source without a projector, such as a network of timm, has no `g(h)`.
        data: its images; without labels, what needs them is left out. Where it has no validation images, a fifth of
            the training images are taken in their place, and out of these.
        max_images: at most so many images of a split are distorted or augmented, drawn with the seed.
        seed: of everything that is drawn.
        cache: folder of :func:`sslbolts.evaluation.features.features_of`.

    Returns:
        the numbers, and the confusions.

    Raises:
        UsageError: for another layer, or too few images.

    Source: Chen et al., arXiv:2002.05709, section 4.2; for the others see their functions in ``sslbolts.readouts``.

    Example:
        >>> from sslbolts.data import CIFAR10MiniDataModule
        >>> from sslbolts.evaluation import load_encoder
        >>> pixels = load_encoder(torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten()), device="cpu")
        >>> found = diagnose(pixels, CIFAR10MiniDataModule(), max_images=200)
        >>> [row["what"] for row in found.result.rows]
        ['color or grayscale', 'rotation', 'original or corrupted by noise', 'original or Sobel-filtered']
    """
    if encoder.layer != "backbone":
        raise UsageError(f'layer="{encoder.layer}": a diagnosis sets the backbone beside the projector, leave it out.')
    if max_images < 8:
        raise UsageError(f"max_images={max_images}: a diagnosis needs 8 images or more.")
    data = EncodedData(encoder, data).module
    data.prepare_data()
    data.setup()
    data, drawn = with_queries(data, seed=seed)
    subject = EncodedData(encoder, data, cache=cache)
    embedding, head = _projector(encoder)
    readers: dict[str, Reader] = {"h": lambda h: h} | ({} if head is None else {"g(h)": _in_chunks(head, encoder.name)})
    notes = [f"{encoder.name} has no projector here, so there is no g(h)."] if head is None else []
    if data.in_chans < 3:
        notes.append("images without colors have none to lose.")
    notes += drawn

    queries = subject.features("val")
    bank = _bank(subject, queries)
    h, targets = queries.features.to(encoder.device), queries.targets.to(encoder.device)
    values: dict[str, dict[str, float]] = {reader: {} for reader in readers}
    confusions: list[Tensor] = []
    names = _names(data, targets, bank.targets) if bank is not None else None
    if bank is None or names is None:
        notes.append(_left_out(data, targets, labeled=bank is not None))
    else:
        for reader, read in readers.items():
            votes = _neighbors(read(h), read(bank.features.to(encoder.device)), bank.targets, len(names))
            confusions.append(confusion_matrix(votes, targets, num_classes=len(names)).cpu())
            values[reader]["knn/top1"] = float(confusions[-1].diagonal().sum() / confusions[-1].sum())
            if len(names) == 2 and (area := area_under_roc(votes[:, 1] / votes.sum(1), targets)) is not None:
                values[reader]["knn/auc"] = area

    rows = held_information(subject, readers, max_images=max_images, seed=seed)
    views = _two_views(subject, max_images, seed)
    for reader, read in readers.items():
        for row in rows:
            values[reader][f"{row['name']}/top1"] = row[f"{reader}/top1"]
        values[reader] |= _geometry(read(h), *map(read, views))
        if names is not None:
            values[reader] |= _classes(read(h), targets, seed)
    metrics = {f"{reader}/{name}": value for reader, found in values.items() for name, value in found.items()}
    if confusions and names is not None:
        accuracies = class_accuracies(confusions[0]).tolist()
        metrics |= {f"class/{name}/top1": right for name, right in zip(names, accuracies) if right == right}
    settings = _settings(subject, embedding, readers, h, max_images, seed)
    result = subject.result("diagnose", metrics, settings, rows, [*notes, _PAPER])
    return Diagnosis(result, confusions[0] if confusions else None, names)


def _projector(encoder: Encoder) -> tuple[str, nn.Module | None]:
    """Name and module of what makes embeddings of features; of DINO that is the projector without its prototypes."""
    root = getattr(encoder.network, "root", None)
    stated = getattr(root, "embedding", None)
    name = stated if isinstance(stated, str) else "projector"
    try:
        return name, None if root is None else root.get_submodule(name)
    except AttributeError:
        return "", None


def _in_chunks(head: nn.Module, name: str) -> Reader:
    def read(h: Tensor) -> Tensor:
        found = torch.cat([head(rows).float() for rows in torch.split(h, _ROWS_AT_ONCE)])
        check_features(is_finite(found), f"the projector of {name}")
        return found

    return read


def _bank(subject: EncodedData, queries: Features) -> Features | None:
    """The labeled training images, where there are labels to compare."""
    data = subject.module
    if data.multi_label or not bool((queries.targets >= 0).any()):
        return None
    return subject.features("bank") if data.has_images("bank") and data.images("bank").labeled else None


def _names(data: SSLDataModule, targets: Tensor, bank_targets: Tensor) -> list[str] | None:
    """Of all classes, also of those that only training images have; None where either has but one."""
    if any(len(set(labels.tolist()) - {-1}) < 2 for labels in (targets, bank_targets)):
        return None
    names = list(data.class_names or ())
    return names + [str(label) for label in range(len(names), int(max(targets.max(), bank_targets.max())) + 1)]


def _left_out(data: SSLDataModule, targets: Tensor, *, labeled: bool) -> str:
    """A note on what is not measured without classes, and why."""
    left_out = "neighbors, class separation, clusters and confusions are left out."
    if data.multi_label:
        return f"images may show several classes, labels are rows of {targets.shape[-1]}: {left_out}"
    if labeled:
        return f"one class is all that there is: {left_out}"
    return f"there are no labels: {left_out} Labels (a folder for each class) would add them."


def _neighbors(queries: Tensor, bank: Tensor, bank_targets: Tensor, classes: int) -> Tensor:
    k = min(_NEIGHBORS, int((bank_targets >= 0).sum()))
    return knn_predict(queries, bank, bank_targets, k=k, temperature=_TEMPERATURE, num_classes=classes)


def _two_views(subject: EncodedData, max_images: int, seed: int) -> list[Tensor]:
    """Features of the first two views of the data's recipe (or of two draws of its only one) of validation images."""
    encoder, data = subject.encoder, subject.module
    images = data.images("val")
    first, second = (*data.views.views, data.views.views[0])[:2]
    mean, std = subject.normalization
    augment = Augment((first, second), mean=mean, std=std, color=data.color, color_channels=data.color_channels)
    views = CroppedViews(images, (first, second), augment, finish_here=True)
    rows = torch.split(chosen_rows(len(images), max_images, seed, _VIEWS), data.eval_batch_size)
    features: tuple[list[Tensor], list[Tensor]] = ([], [])
    plans = [BatchPlan(indices, mix(seed, _VIEWS, number)) for number, indices in enumerate(rows)]
    batches: Apart[Any] = Apart(CroppedViews.__getitem__, views, plans)
    for batch in late_bar(batches, "two views of each image"):
        for kept, view in zip(features, batch.views):
            kept.append(encoder.network(view.to(encoder.device)).float())
    found = [torch.cat(kept) for kept in features]
    for view_features in found:
        check_features(is_finite(view_features), encoder.name)
    return found


def _geometry(h: Tensor, first: Tensor, second: Tensor) -> dict[str, float]:
    return {
        "rankme": float(rankme(h)),
        "effective_rank": float(effective_rank(h)),
        "alignment": float(alignment(first, second)),
        "uniformity": float((uniformity(first) + uniformity(second)) / 2),
    }


def _classes(h: Tensor, targets: Tensor, seed: int) -> dict[str, float]:
    """Separation of the classes among the features, and how far k-means finds them."""
    known = targets >= 0
    h, targets = F.normalize(h[known]), targets[known]
    classes = len(set(targets.tolist()))
    runs = [
        kmeans(
            h, classes, iterations=_ITERATIONS, spherical=True, progress=True, generator=generator(seed, _CLUSTERS, run)
        )
        for run in range(_RESTARTS)
    ]
    best = max(runs, key=lambda run: float((h * run.centroids[run.assignments]).sum())).assignments
    return {
        "class_separation": float(class_separation(h, targets)),
        "clusters/purity": float(purity(best, targets)),
        "clusters/nmi": float(normalized_mutual_information(best, targets)),
        "clusters/ari": float(adjusted_rand_index(best, targets)),
        "clusters/top1": float(matched_accuracy(best, targets)),
    }


def _settings(
    subject: EncodedData,
    embedding: str,
    readers: dict[str, Reader],
    h: Tensor,
    max_images: int,
    seed: int,
) -> dict[str, Any]:
    encoder = subject.encoder
    widths = {name: read(h[:2]).shape[1] for name, read in readers.items()}
    layers = {"h": encoder.feature_name, "g(h)": f"{embedding}{' of the teacher' if encoder.teacher else ''}"}
    return {
        **{name: f"{layers[name]}, {width} numbers" for name, width in widths.items()},
        "preprocessing": subject.preprocessing,
        "images": f"{len(h):,} for validation; at most {max_images:,} of them, and of the training images, distorted",
        "what was done": "ridge classifier on standardized features, penalty by leave-one-out on training images",
        "distortions": f"one per image, all equally often; noise of deviation {NOISE_STD:g} of images in [0, 1]",
        "neighbors": f"{_NEIGHBORS}, cosine, temperature {_TEMPERATURE:g}",
        "alignment and uniformity": "first two views of the data's recipe, alpha 2, t 2, on the unit sphere",
        "clusters": f"spherical k-means, one cluster per class, the best of {_RESTARTS} starts by its own objective",
        "seed": seed,
    }
