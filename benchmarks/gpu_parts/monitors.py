"""Price of the monitors: steps with and without them in one run."""

import statistics
from typing import Any

import torch

from gpu_parts.plan import Row, Setup
from gpu_parts.speed import NETWORKS, batches, free, make

MONITORED = ("ResNet-18, 32 pixels", "ResNet-50, 224 pixels")


def monitors(name: str, setup: Setup) -> Row:
    """What ``benchmarks/overhead.py`` measures, on a network of the speed table."""
    import overhead

    network = NETWORKS[name]
    size = 32 if setup.small else network.size
    for batch in batches(network, setup):
        try:
            found = overhead.measure(
                make("SimCLR", network, setup),
                device=setup.device,
                steps=60 if setup.small else 400,
                batch=batch,
                size=size,
                bank=64 if setup.small else 5000,
            )
        except torch.OutOfMemoryError:
            free()
            continue
        return {"batch": batch, **_columns(found)}
    raise RuntimeError("not even the smallest batch fits into the memory of the device")


def _columns(found: Any) -> Row:
    base = statistics.median(found.steps["none"])
    row = {"ms per step": 1e3 * base}
    for variant in found.steps:
        if variant != "none":
            row[f"step with {variant} / without"] = statistics.median(found.steps[variant]) / base
            row[f"own hooks of {variant} / step"] = found.own[variant] / base
    return row | {"seconds of one validation": found.validation}
