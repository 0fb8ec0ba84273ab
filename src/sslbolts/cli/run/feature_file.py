"""``sslbolts predict``: features, labels, indices and files of a dataset in one file."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from sslbolts._lightning import Callback, LightningModule, Trainer, rank_zero_info
from sslbolts.checks import must_be_writable, whole_file
from sslbolts.cli.shared.checks import check_folder
from sslbolts.data.paths import paths_of
from sslbolts.distributed import gather_or_none, gather_ragged, rank
from sslbolts.errors import UsageError
from sslbolts.training.rows import first_loader

__all__ = ["FeatureFile"]

_ENDINGS = (".npz", ".parquet")


class FeatureFile(Callback):
    """Writes what ``predict_step`` returns, in the order of the dataset, each image once on any number of devices.

    ``predict_step`` returns features ``(B, D)``, or ``(features, targets, indices)``; in the first case targets and
    indices are those of the batch ``(images, targets, indices)``.

    Args:
        path: ``.npz`` holds the arrays ``features (N, D)`` float32, ``targets (N,)`` int64 (-1 where unlabeled;
            ``(N, C)`` of 1, 0, and -1 for what is not known where images may show several classes),
            ``indices (N,)`` int64 and ``paths (N,)`` text; ``.parquet`` a table of columns ``features`` (lists of D
            float32), ``path``, ``label`` and ``index``. Paths are as the DataModule was given the folder, and empty
            where images are in no files of their own; what is no UTF-8 in them is written as ``\\x..``.

    Raises:
        UsageError: for another ending, a place where no file can be, several predict loaders (each would count its
            images from 0), or for output that is not features.
    """

    def __init__(self, path: str) -> None:
        self.check(path)
        self.path = Path(path)
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []
        self._dataset: Any = None

    @staticmethod
    def check(path: str) -> None:
        """Refuse a file that could not be written at the end.

        Raises:
            UsageError: says why.
        """
        if Path(path).suffix not in _ENDINGS:
            raise UsageError(f'--output "{path}": the file must end in {" or ".join(_ENDINGS)}.')
        if Path(path).suffix == ".parquet":
            try:
                import pyarrow  # noqa: F401
            except ImportError:
                raise UsageError(
                    f'--output "{path}" needs pyarrow: pip install "sslbolts[parquet]", or write .npz.'
                ) from None

        if Path(path).is_dir():
            raise UsageError(f'--output "{path}" is a folder: give the name of a file in it.')
        check_folder("--output: the folder of the file,", Path(path).parent)
        must_be_writable(path)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows = []
        self._dataset = getattr(first_loader(trainer.predict_dataloaders), "dataset", None)
        loaders = len(trainer.num_predict_batches)
        if loaders != 1:
            raise UsageError(
                f"there are {loaders} predict loaders, and the rows of a file are the images of one dataset: let "
                "predict_dataloader() return one loader, and run predict once for each."
            )

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        rows = outputs if isinstance(outputs, tuple | list) and len(outputs) == 3 else (outputs, *_labels(batch))
        if not (isinstance(rows[0], Tensor) and rows[0].dim() == 2):
            raise UsageError(
                f"{type(pl_module).__name__}.predict_step returned {_describe(rows[0])}, but features are a tensor "
                "(B, D): return them, or (features, targets, indices)."
            )
        features, targets, indices = (torch.as_tensor(column).cpu() for column in rows)
        self._rows.append((features.float(), targets.long(), indices.long()))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        width = self._rows[0][0].shape[1] if self._rows else 0
        # Collectives of an accelerator's process group take tensors on that device only.
        widths = gather_ragged(torch.tensor([width], device=pl_module.device)).tolist()
        if not max(widths):
            raise UsageError("there was nothing to predict: the predict loader gave no batch.")
        own: list[Tensor | None] = [torch.cat(column).to(pl_module.device) for column in zip(*self._rows)]
        own = own or [None] * 3  # of a rank without a batch
        self._rows = []
        found = [gather_or_none(column, pl_module.device) for column in own]
        features, targets, indices = (column.cpu() for column in found if column is not None)
        if rank() > 0:
            return
        _, first = _first_of_each(indices)
        paths = _paths(self._dataset, indices[first].tolist())
        self._dataset = None
        with whole_file(self.path) as unfinished:
            _write(unfinished, features[first], targets[first], indices[first], paths)
        rank_zero_info(f"{len(first)} x {features.shape[1]} features in {self.path}")


def _labels(batch: Any) -> tuple[Any, Any]:
    if not (isinstance(batch, tuple | list) and len(batch) == 3):
        raise UsageError(
            f"the predict loader gave {_describe(batch)}, but labels and indices come from batches (images, targets, "
            "indices): use a DataModule of sslbolts.data, or return (features, targets, indices) from predict_step."
        )
    return batch[1], batch[2]


def _first_of_each(indices: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct indices in ascending order, and the row where each stands first: a sampler's padding is left out."""
    order = torch.argsort(indices, stable=True)
    ascending = indices[order]
    is_first = torch.ones_like(ascending, dtype=torch.bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    return ascending[is_first], order[is_first]


def _paths(dataset: Any, rows: list[int]) -> list[str]:
    """The file of each row, as text; empty where there is none.

    What a subset numbers, its own rows or those of the dataset inside, nobody knows.
    """
    paths = None if isinstance(dataset, Subset) else paths_of(dataset)
    if paths is None or not all(0 <= row < len(paths) for row in rows):
        return [""] * len(rows)
    return [os.fsencode(paths[row]).decode("utf-8", "backslashreplace") for row in rows]


def _write(path: Path, features: Tensor, targets: Tensor, indices: Tensor, paths: list[str]) -> None:
    if path.suffix == ".npz":
        import numpy as np

        np.savez(
            path,
            features=features.numpy(),
            targets=targets.numpy(),
            indices=indices.numpy(),
            paths=np.array(paths, dtype=np.str_),
        )
        return
    import pyarrow
    from pyarrow import parquet

    def _lists(rows: Tensor) -> Any:
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.reshape(-1).numpy()), rows.shape[1])

    table = {
        "features": _lists(features),
        "path": pyarrow.array(paths, pyarrow.string()),
        "label": targets.numpy() if targets.dim() == 1 else _lists(targets),
        "index": indices.numpy(),
    }
    parquet.write_table(pyarrow.table(table), path)


def _describe(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
