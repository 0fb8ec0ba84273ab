"""A network without what it has learned: baselines that tell what its form alone is good for."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from sslbolts.batch import images_of
from sslbolts.checkpoints.safe_arguments import arguments_of_shape
from sslbolts.checks import is_plain, one_of
from sslbolts.errors import UsageError, argument_names
from sslbolts.evaluation.encoder import Encoder, digest_of
from sslbolts.evaluation.features import EncodedData, EvaluationData, data_name
from sslbolts.evaluation.library import LIBRARIES, library_network
from sslbolts.evaluation.loaders import split_loader
from sslbolts.methods import SSLModule
from sslbolts.networks.rescaled import balance_, is_normalized, rescale_

__all__ = ["Init", "initialized"]

Init = Literal["random", "rescaled"]
"""Weights as their library draws them; or from a normal distribution, and rescaled on images of the data."""

_IMAGES, _BATCH, _ITERATIONS = 160, 16, 10  # of the official code: ten batches, the first of which balances


def initialized(encoder: Encoder, init: Init, data: EvaluationData | None = None, *, seed: int = 0) -> Encoder:
    """The same network with weights that are drawn anew.

    "random" is what training begins with. "rescaled" draws the weights of all convolutions and linear layers from a
    normal distribution and scales them on 160 training images, so that every unit has mean 0.1 and standard deviation
    1; a network without norms is then balanced, so that its layers would learn equally fast. Of the two in Kraehenbuehl
    et al. it is the one without k-means.

    Args:
        encoder: of whatever was loaded; it stays as it is.
        init: "random" or "rescaled".
        data: for "rescaled", where the training images come from; no label is used.
        seed: of the weights, and of the choice of images.

    Returns:
        An encoder whose source, features and description say so.

    Raises:
        UsageError: for another word, no data where they are needed, a teacher, or weights that nothing draws.

    Source: Kraehenbuehl et al., Data-dependent Initializations of Convolutional Neural Networks, ICLR 2016,
    arXiv:1511.06856.

    Example:
        >>> from sslbolts.evaluation import load_encoder
        >>> encoder = load_encoder(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), image_size=4, device="cpu")
        >>> random = initialized(encoder, "random", seed=3)
        >>> random.feature_name, random.source, random.digest == encoder.digest
        ('backbone, random, seed 3', 'Sequential (random, seed 3)', False)
    """
    one_of(get_args(Init), init=init)
    if encoder.teacher:
        raise UsageError(f"init=\"{init}\" draws the weights anew, which are nobody's teacher's: leave teacher out.")
    if init == "rescaled" and data is None:
        raise UsageError('init="rescaled" scales the weights on training images: give data=.')
    network: Any = copy.deepcopy(encoder.network)
    words = f"{init}, seed {seed}"
    note = ""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        _draw(network.root, encoder)
        if init == "rescaled":
            assert data is not None
            note = f" ({_rescale(network, encoder, data, seed)})"
    bare = getattr(network.root, "backbone", network.root)
    return replace(
        encoder,
        network=network,
        backbone=bare,
        digest=digest_of(network, encoder.layer),
        source=f"{_given_source(encoder)} ({words})",
        pretrained=None if encoder.pretrained is None else False,
        initialization=words + note,
    )


def _given_source(encoder: Encoder) -> str:
    """The source without what was said of drawn weights."""
    drawn = encoder.initialization.partition(" (")[0] or "untrained"
    return encoder.source.removesuffix(f" ({drawn})")


def _draw(root: nn.Module, encoder: Encoder) -> None:
    """Draw the weights of a network as whoever made it did."""
    fresh: nn.Module | None = None
    if encoder.pretrained is not None and encoder.source.startswith(LIBRARIES):
        fresh, _ = library_network(_given_source(encoder), pretrained=False, in_chans=encoder.preprocessing.in_chans)
    elif isinstance(root, SSLModule) and isinstance(root.hparams.get("backbone"), str):
        known = argument_names(type(root))
        held = {n: v for n, v in root.hparams.items() if n in known and n != "optimizer" and is_plain(v)}
        fresh = type(root)(**held | {"backbone_kwargs": arguments_of_shape(held.get("backbone_kwargs"))})
    if fresh is not None:
        root.load_state_dict(fresh.state_dict())
        return
    ruled: set[int] = set()
    for module in root.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            ruled |= {id(parameter) for parameter in module.parameters()}
    begin = getattr(root, "init_weights", None)
    if callable(begin) and type(root).__module__.startswith("timm."):
        begin()
        return
    left = [name for name, parameter in root.named_parameters() if id(parameter) not in ruled]
    if left:
        raise UsageError(
            f"{type(root).__name__} has no rule by which {left[0]} is drawn anew: give a network by its name, or its "
            "layers a reset_parameters()."
        )


def _rescale(network: nn.Module, encoder: Encoder, data: EvaluationData, seed: int) -> str:
    """Rescale a network on images of the data; says what was done."""
    images = _training_images(encoder, data, seed)
    generator = torch.Generator().manual_seed(seed)
    rescale_(network, images, generator=generator)
    said = f"on {len(images)} training images of {data_name(data)}"
    if is_normalized(network):
        return f"{said}, not balanced, since it has norms"
    shape = (min(_BATCH, len(images)), encoder.num_features)
    gradients = (torch.randn(shape, generator=generator) for _ in range(_ITERATIONS))
    return f"{said}, balanced in {balance_(network, images[:_BATCH], gradients)} iterations"


def _training_images(encoder: Encoder, data: EvaluationData, seed: int) -> Tensor:
    """Some of the training images, drawn at random, as the network takes them."""
    subject = EncodedData(encoder, data)
    loader: Iterable[Any] = split_loader(data, "train", batch_size=_BATCH, num_workers=0)
    if isinstance(loader, DataLoader) and hasattr(loader.dataset, "__getitem__"):
        rows = torch.randperm(len(loader.dataset), generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
        some = Subset(loader.dataset, rows[:_IMAGES].tolist())
        loader = DataLoader(some, batch_size=_BATCH, collate_fn=loader.collate_fn)
    batches: list[Tensor] = []
    for batch in loader:
        if len(images := images_of(batch)):
            batches.append(subject.prepared(images.to(encoder.device)))
        if sum(map(len, batches)) >= _IMAGES:
            break
    found = torch.cat(batches)[:_IMAGES] if batches else torch.empty(0)
    if len(found) < 2:
        raise UsageError(f"{data_name(data)} has {len(found)} training images, and rescaling needs two or more.")
    return found
