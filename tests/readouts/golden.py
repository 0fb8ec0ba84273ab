"""The golden cases of the readouts, as tensors."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(os.environ.get("SSLBOLTS_GOLDEN", Path(__file__).parent.parent / "golden"))


def golden(case: str) -> dict[str, Tensor]:
    """``{"in/...": ..., "out/...": ...}`` of one case."""
    with np.load(FOLDER / "golden.npz") as file:
        return {
            name.removeprefix(f"{case}/"): torch.from_numpy(np.asarray(file[name]))
            for name in file.files
            if name.startswith(f"{case}/")
        }
