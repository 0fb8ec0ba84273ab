"""How images are normalized that come from no DataModule: as the network saw them in training, where this is known."""

from typing import Any

from sslbolts.errors import UsageError
from sslbolts.evaluation.encoder import Encoder
from sslbolts.methods import METHODS
from sslbolts.transforms import recipe

__all__ = ["statistics_for"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def statistics_for(encoder: Encoder, normalize: str = "auto") -> tuple[Any, Any, str]:
    """Mean and deviation per channel, None and None for images in [0, 1]; and the same in words.

    Args:
        encoder: the network.
        normalize: "auto" is the encoder's own where they are known; no normalization for a method whose views have none
            (SimCLR); and else ImageNet's. "imagenet" and "none" say it.

    Raises:
        UsageError: for another word, or where nothing is known of images that have not three channels.

    Example:
        >>> from torch import nn
        >>> from sslbolts.evaluation import load_encoder
        >>> statistics_for(load_encoder(nn.Flatten(), image_size=4, device="cpu"), "none")
        (None, None, 'in [0, 1], not normalized')
    """
    if normalize not in ("auto", "imagenet", "none"):
        raise UsageError(f'normalize="{normalize}": it is auto, imagenet or none.')
    if normalize == "auto" and encoder.mean is not None:
        return encoder.mean, encoder.std, "normalized as in training"
    if normalize == "none":
        return None, None, "in [0, 1], not normalized"
    if normalize == "auto" and encoder.name in METHODS and not recipe(METHODS[encoder.name].views, 224).normalize:
        return None, None, f"in [0, 1], not normalized, as {encoder.name}'s views"
    if encoder.in_chans != 3:
        raise UsageError(
            f"{encoder.name} takes images of {encoder.in_chans} channels, and how they were normalized is not known: "
            'give normalize="none" (--normalize none).'
        )
    unknown = "" if normalize == "imagenet" else " (how it was trained is not known)"
    return *_IMAGENET, f"normalized by ImageNet's mean and deviation{unknown}"
