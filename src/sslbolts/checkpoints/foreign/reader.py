"""The backbone in another library's checkpoint: its layout, and its weights under the network's own names."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checkpoints.files import some, uncompiled
from sslbolts.checkpoints.foreign.architectures import infer_network, named_children, shape_arguments, united_statistics
from sslbolts.checkpoints.foreign.layouts import LAYOUTS, Layout, get_layout
from sslbolts.checkpoints.misfit import misfit
from sslbolts.errors import UsageError
from sslbolts.networks.backbones import create_backbone

__all__ = ["Foreign", "ImportReport", "read_foreign"]

_VIT = "vit."
_ASSUMED_STEMS = ("cifar_pad2", "cifar_no_relu")  # the shapes of their weights are those of the usual stem
_ONLY_TEACHER = "the file holds no student: these are the teacher's weights"
_SPLITS = "its batch norms kept statistics of each split of the batch: their mean was taken"
_NO_RELU = "its nn.Sequential of a ResNet's children has no ReLU after the first batch norm"


@dataclass(frozen=True)
class ImportReport:
    """An account of a checkpoint's tensors: taken, left, missing.

    Attributes:
        path: the checkpoint.
        layout: name of its layout.
        source: whose layout that is.
        network: the network that was filled, in words.
        matched: number of tensors that were taken.
        left_in_file: names of tensors in the file that are no part of the backbone.
        left_in_network: names of tensors of the network that the file does not have, and which no features need.
        note: what one should know about these weights; "" for nothing.
        assumed: what of that the file does not say, and would change features where it is wrong; "" for nothing.

    Example:
        >>> report = ImportReport("moco.pth", "moco", "MoCo v1 and v2", "resnet50", 318, ("queue", "fc.bias"), ())
        >>> print(report)
        moco.pth: layout "moco" (MoCo v1 and v2), network resnet50
          318 tensors taken; left in the file: 2 (queue 1, fc 1); missing in it: nothing
    """

    path: str
    layout: str
    source: str
    network: str
    matched: int
    left_in_file: tuple[str, ...]
    left_in_network: tuple[str, ...]
    note: str = ""
    assumed: str = ""

    def __str__(self) -> str:
        parts = Counter(".".join(name.split(".")[: 2 if name.count(".") > 2 else 1]) for name in self.left_in_file)
        left = f"{len(self.left_in_file)} ({', '.join(f'{part} {count}' for part, count in parts.items())})"
        lines = [
            f'{self.path}: layout "{self.layout}" ({self.source}), network {self.network}',
            f"  {self.matched} tensors taken; left in the file: {left if parts else 'nothing'}; missing in it: "
            f"{some(list(self.left_in_network))}",
        ]
        return "\n".join(lines + ([f"  note: {self.note}"] if self.note else []))


@dataclass(frozen=True)
class Foreign:
    """A backbone in another library's checkpoint.

    Attributes:
        weights: those that make up the network.
        spec: arguments of ``create_backbone``; None where the network was given as a module.
        layout: the checkpoint's layout.
        image_size: side of the images that a transformer's position embedding is for; None for other networks.
        report: what went where.
        network: that they are of, not yet filled with them.
    """

    weights: dict[str, Tensor]
    spec: dict[str, Any] | None
    layout: Layout
    image_size: int | None
    report: ImportReport
    network: nn.Module


def read_foreign(
    path: str | Path,
    checkpoint: Mapping[str, Any],
    *,
    teacher: bool = False,
    layout: str | Layout | None = None,
    backbone: str | nn.Module | None = None,
) -> Foreign:
    """Find the backbone in another library's checkpoint.

    Args:
        path: where the checkpoint is from, for messages.
        checkpoint: its content.
        teacher: the teacher's backbone instead of the student's.
        layout: name of a layout, or one of your own; None recognizes it.
        backbone: the network, by name or as a module; None infers it from the weights.

    Raises:
        UsageError: if the layout or the network cannot be told, nothing matches, or part of the network is missing.
    """
    hparams = checkpoint.get("hyper_parameters")
    hparams = hparams if isinstance(hparams, Mapping) else {}
    chosen = _recognize(path, checkpoint, hparams, backbone) if layout is None else layout
    chosen = get_layout(chosen) if isinstance(chosen, str) else chosen
    if teacher and chosen.teacher is None:
        hint = f" ({chosen.note})" if "target" in chosen.note else ""
        raise UsageError(f'"{path}" is of {chosen.source}, which keeps no teacher{hint}: leave teacher=True out.')
    tensors, entry = _tensors(checkpoint, chosen, teacher)
    prefix = (chosen.teacher if teacher else chosen.student) or ""
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    found = _inner(inside)
    united = united_statistics(found)
    notes = [_SPLITS] if any(united[name] is not tensor for name, tensor in found.items()) else []
    if entry is not None and entry == chosen.under_teacher and not teacher:
        notes.append(_ONLY_TEACHER)
    body = {name: tensor for name, tensor in united.items() if not name.startswith(chosen.heads)}
    if {"1.weight", "2.0.conv1.weight"} <= body.keys():
        chosen = replace(chosen, small_stem="cifar_no_relu", note=_NO_RELU)
    body = named_children(body)
    if not body:
        parts = list(dict.fromkeys(name.partition(".")[0] for name in tensors))
        raise UsageError(
            f'"{path}" holds no {"teacher" if teacher else "backbone"} under "{prefix}", where {chosen.source} '
            f"{'keeps' if chosen.name != 'backbone' else 'keep'} it, only {some(parts)}."
        )
    spec, network = _network(path, body, chosen, hparams, backbone)
    # What is a head in one network is a norm or a hidden layer before the classifier in another.
    needed = {name: tensor for name, tensor in united.items() if name.startswith(chosen.heads)}
    needed = {name: tensor for name, tensor in needed.items() if name in network.state_dict()}
    taken, missing = _fitted(path, body | needed, network, chosen)
    left = [name for name in tensors if not name.startswith(prefix)]
    left += [name for name in inside if name not in found and not name.startswith(_VIT)]
    left += [name for name in found if name.startswith(chosen.heads) and name not in needed]
    kwargs = (spec or {}).get("backbone_kwargs", {})
    of_layout = _note(chosen, spec)
    report = ImportReport(
        str(path),
        chosen.name,
        chosen.source,
        _described(spec, network),
        len(taken),
        tuple(left),
        tuple(missing),
        "; ".join(filter(None, [of_layout, *notes])),
        _assumed(of_layout if layout is None else "", spec, notes),
    )
    return Foreign(taken, spec, chosen, kwargs.get("img_size"), report, network)


def _inner(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """A transformer that lightly wraps, which adds a mask token, without its wrapper."""
    if not any(name.startswith(_VIT) for name in found):
        return found
    return {name.removeprefix(_VIT): tensor for name, tensor in found.items() if name.startswith(_VIT)}


def _tensors(checkpoint: Mapping[str, Any], layout: Layout, teacher: bool) -> tuple[dict[str, Tensor], str | None]:
    """Tensors of the entry in which a layout has them, and the entry; none and None where there is no such entry."""
    entries = (layout.under_teacher,) if teacher and layout.under_teacher else layout.under
    for entry in entries:
        values = checkpoint if entry == "" else checkpoint.get(entry)
        if isinstance(values, Mapping):
            tensors = {
                uncompiled(str(name)).removeprefix("module."): value
                for name, value in values.items()
                if isinstance(value, Tensor)
            }
            if tensors:
                return tensors, entry
    return {}, None


def _recognize(
    path: str | Path, checkpoint: Mapping[str, Any], hparams: Mapping[str, Any], backbone: str | nn.Module | None
) -> Layout:
    for layout in LAYOUTS.values():
        if layout.fits(_tensors(checkpoint, layout, teacher=False)[0], hparams, checkpoint.get("arch")):
            return layout
    if isinstance(backbone, nn.Module) and _tensors(checkpoint, LAYOUTS["plain"], teacher=False)[0]:
        return LAYOUTS["plain"]  # names that only this module knows
    every = [_tensors(checkpoint, layout, teacher=False)[0] for layout in (LAYOUTS["plain"], LAYOUTS["dino"])]
    parts = list(dict.fromkeys(".".join(name.split(".")[:2]) for tensors in every for name in tensors))
    raise UsageError(
        f'"{path}" has no layout that is known; in it stand {some(parts or [str(key) for key in checkpoint])}. Say '
        'where its backbone stands: layout=Layout("mine", "mine", student="encoder."), with backbone= if need be.'
    )


def _network(
    path: str | Path,
    weights: Mapping[str, Tensor],
    layout: Layout,
    hparams: Mapping[str, Any],
    backbone: str | nn.Module | None,
) -> tuple[dict[str, Any] | None, nn.Module]:
    if isinstance(backbone, nn.Module):
        return None, backbone
    try:
        if backbone is None:
            spec = infer_network(weights, layout, hparams)
        else:
            spec = {"backbone": backbone, **shape_arguments(weights, layout, hparams)}
    except UsageError as error:
        raise UsageError(f'"{path}": {error}') from error
    arguments = {name: value for name, value in spec.items() if name not in ("backbone", "backbone_kwargs")}
    return spec, create_backbone(spec["backbone"], **arguments, **spec["backbone_kwargs"])


def _fitted(
    path: str | Path, weights: Mapping[str, Tensor], network: nn.Module, layout: Layout
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights of a network, and what of it the file lacks without harm."""
    expected = network.state_dict()
    missing, unexpected, reshaped = misfit(network, weights)
    matching = [name for name in expected if name not in missing and name not in reshaped]
    counters = [name for name in missing if name.endswith("num_batches_tracked")]  # older than torch 0.4.1
    if len(counters) < len(missing) or reshaped or unexpected:
        what = "nothing" if not matching else f"only {len(matching)} of {len(expected)} tensors"
        raise UsageError(
            f'{what} of this {type(network).__name__} matched "{path}", read as layout "{layout.name}": missing '
            f"{some([name for name in missing if name not in counters])}; unexpected {some(unexpected)}; of another "
            f"shape {some(reshaped)}. Name the network with backbone=, or the layout with layout=."
        )
    taken = {name: weights[name] for name in matching}
    return taken | {name: torch.tensor(0) for name in counters}, counters


def _note(layout: Layout, spec: Mapping[str, Any] | None) -> str:
    """The layout's note, unless it is of small stems and this network has another."""
    of_stem = layout.small_stem in _ASSUMED_STEMS
    return "" if of_stem and spec is not None and spec["stem"] != layout.small_stem else layout.note


def _assumed(of_layout: str, spec: Mapping[str, Any] | None, notes: list[str]) -> str:
    """Anything that was taken for granted, and what to do where it is wrong."""
    if of_layout and spec is not None and spec["stem"] in _ASSUMED_STEMS:
        return f"{of_layout}; where that is not so, pass layout= or the network as backbone="
    return f"{_ONLY_TEACHER}; teacher=True says that they are wanted" if _ONLY_TEACHER in notes else ""


def _described(spec: Mapping[str, Any] | None, network: nn.Module) -> str:
    if spec is None:
        return type(network).__name__
    options = (
        {"stem": spec["stem"], **spec["backbone_kwargs"]} if spec["stem"] != "imagenet" else spec["backbone_kwargs"]
    )
    return ", ".join([spec["backbone"], *(f"{name}={value}" for name, value in options.items())])
