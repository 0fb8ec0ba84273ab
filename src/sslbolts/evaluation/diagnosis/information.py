"""Information that features hold: what was done to an image, as a linear classifier reads it from them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sslbolts.errors import UsageError, did_you_mean
from sslbolts.evaluation.diagnosis.distortions import DISTORTIONS, Distortion
from sslbolts.evaluation.features import EncodedData, check_features
from sslbolts.progress import late_bar
from sslbolts.readouts import ridge_classifier
from sslbolts.readouts.checks import is_finite
from sslbolts.training.own_loader import with_batches
from sslbolts.training.seeds import generator

__all__ = ["Reader", "chosen_rows", "distorted_features", "held_information"]

Reader = Callable[[Tensor], Tensor]
"""Makes ``(B, d)`` of the encoder's features ``(B, D)``: the projector, or nothing."""

_TRAIN, _VAL, _NOISE, _ROWS = range(4)  # what a seed is for


@torch.no_grad()
def held_information(
    subject: EncodedData,
    readers: dict[str, Reader],
    *,
    distortions: Sequence[str] = tuple(DISTORTIONS),
    max_images: int = 5000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Accuracy with which a linear classifier tells from features what was done to an image.

    Every image gets one of the answers, each equally often; the ridge classifier learns from the training images, and
    its accuracy is that on the validation images. Its penalty is chosen by leaving training images out one by one.

    Args:
        subject: the network, which gives features `h`, and its training and validation images; labels are not needed.
        readers: name -> what is read besides, from `h`; one of them leaves it as it is.
        distortions: names in :data:`sslbolts.evaluation.diagnosis.distortions.DISTORTIONS`.
        max_images: at most so many training images, and as many for validation, drawn with the seed.
        seed: of the images, the answers and the noise.

    Returns:
        one row per distortion that the images allow: ``name``, ``what``, ``random guess/top1``, and ``NAME/top1`` for
        each reader.

    Raises:
        UsageError: for an unknown distortion, or without validation images.

    Source: the question is that of Chen et al., A Simple Framework for Contrastive Learning of Visual Representations,
    ICML 2020, arXiv:2002.05709, section 4.2 and table 3. There an MLP answers it, for a network that saw rotation,
    noise and Sobel filtering as augmentations in training.
    """
    for name in distortions:
        if name not in DISTORTIONS:
            raise UsageError(
                f'there is no distortion "{name}".{did_you_mean(name, DISTORTIONS)} It is one of '
                f"{', '.join(DISTORTIONS)}."
            )
    rows = []
    for number, name in enumerate(distortions):
        distortion = DISTORTIONS[name]
        if subject.module.in_chans < distortion.least_chans:
            continue
        bank, bank_labels = distorted_features(subject, "train", distortion, max_images, (seed, number, _TRAIN))
        queries, labels = distorted_features(subject, "val", distortion, max_images, (seed, number, _VAL))
        guess = labels.bincount().max() / len(labels)
        row: dict[str, Any] = {"name": name, "what": distortion.question, "random guess/top1": float(guess)}
        for reader, read in readers.items():
            scores = ridge_classifier(read(queries), read(bank), bank_labels).scores
            row[f"{reader}/top1"] = int((scores.argmax(1) == labels).sum()) / len(labels)
        rows.append(row)
    return rows


@torch.no_grad()
def distorted_features(
    subject: EncodedData, split: str, distortion: Distortion, max_images: int, seed: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Features ``(N, D)`` of distorted images of a split, on the encoder's device, and the answers ``(N,)``."""
    encoder, data = subject.encoder, subject.module
    loader = data.train_images_dataloader() if split == "train" else data.val_dataloader()
    if not isinstance(loader, DataLoader):
        raise UsageError(f"{type(data).__name__} has no validation images, on which the answers are tested.")
    size = len(loader.dataset)  # type: ignore[arg-type]
    rows = chosen_rows(size, max_images, *seed)
    labels = torch.full((size,), -1)
    labels[rows] = distortion.labels(len(rows), *seed)
    drawn = generator(*seed, _NOISE)
    features, answers = [], []
    step = loader.batch_size or 256
    batches = [rows[start : start + step].tolist() for start in range(0, len(rows), step)]
    for images, _, indices in late_bar(with_batches(loader, batches), f"{distortion.question} ({split})"):
        pixels = images.to(encoder.device).float() / 255
        answer = labels[indices]
        features.append(encoder.network(subject.prepared(distortion(pixels, answer, generator=drawn))).float())
        answers.append(answer)
    found = torch.cat(features)
    check_features(is_finite(found), encoder.name)
    return found, torch.cat(answers).to(encoder.device)


def chosen_rows(size: int, most: int, *seed: int) -> Tensor:
    """``(min(size, most),)`` different rows in ascending order, drawn with a seed.

    Example:
        >>> chosen_rows(3, 5, 0).tolist(), len(chosen_rows(100, 5, 0))
        ([0, 1, 2], 5)
    """
    return torch.randperm(size, generator=generator(*seed, _ROWS))[:most].sort().values
