"""AMDIM's network against the official one."""

import torch
from torch import nn

from sslbolts.networks.amdim import AMDIMEncoder
from tests.golden.reference import architectures

REFERENCE = architectures()["amdim_encoder32_ndf128"]


def _encoder(*, batch_norm: bool) -> AMDIMEncoder:
    with torch.device("meta"):
        return AMDIMEncoder(32, width=128, n_rkhs=1024, depth=3, batch_norm=batch_norm)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_the_official_networks():
    """The official code makes its inner batch norms also where it does not use them, and counts them."""
    with_norms, without = _encoder(batch_norm=True), _encoder(batch_norm=False)
    assert _count(with_norms) == REFERENCE["encoder"]["total"]
    norms = [m for m in with_norms.modules() if isinstance(m, nn.BatchNorm2d)]
    outer = [m for m in without.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.num_features for m in outer] == [1024] * 3  # of the three scales
    assert _count(without) == _count(with_norms) - sum(map(_count, norms)) + sum(map(_count, outer))


def test_activations_are_the_official_networks():
    encoder = _encoder(batch_norm=False)
    shapes: list[list[int]] = []
    layers = [*encoder.to_7[:-1], encoder.to_7[-1], encoder.to_5, *encoder.to_1]
    for layer in layers:
        layer.register_forward_hook(lambda module, args, output: shapes.append(list(output.shape[1:])))
    maps: list[torch.Tensor] = []
    r1 = encoder(torch.empty(2, 3, 32, 32, device="meta"), maps)
    assert shapes == REFERENCE["acts"]
    assert [[*r1.shape[1:], 1, 1], *(list(features.shape[1:]) for features in maps)] == REFERENCE["r"]
