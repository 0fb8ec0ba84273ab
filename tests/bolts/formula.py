"""Numbers that look random and are the same on every machine and version: for weights, images and gradients."""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

IMAGES = (2, 3, 32, 32)


def noise(name: str, shape: Sequence[int], spread: float = 1.0) -> Tensor:
    """Uniform in ``[-spread, spread]``, a function of the name, float32."""
    start = zlib.crc32(name.encode()) % 10_000
    angles = 12.9898 * np.arange(start, start + int(np.prod(shape)), dtype=np.float64)
    values = np.mod(np.sin(angles) * 43758.5453, 1.0)
    return torch.from_numpy(((2 * values - 1) * spread).astype(np.float32)).reshape(tuple(shape))


def weights(shapes: Mapping[str, Sequence[int]], salt: str = "") -> dict[str, Tensor]:
    """A state dict of these names and shapes in which signals neither vanish nor explode."""
    made = {}
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        values = noise(salt + name, shape, (6 / fan_in) ** 0.5 if len(shape) > 1 else 0.2)
        if name.endswith("num_batches_tracked"):
            values = torch.tensor(1)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            values = 1 + values
        made[name] = values
    return made
