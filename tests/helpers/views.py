"""Batches of views of noise, the same on every machine and split over ranks in rank order."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sslbolts.batch import ViewBatch
from sslbolts.training.frame_places import FramePlaces


class NoiseViews(Dataset[ViewBatch]):
    """``images`` images of noise, of which view ``v`` is ``sizes[v]`` pixels wide; 4 classes.

    Its values are normal, or uniform in [0, 1]. For methods on videos they are frames, in order, of sequences of 8.
    """

    def __init__(
        self,
        images: int,
        sizes: Sequence[int] = (32, 32),
        *,
        dtype: torch.dtype = torch.float32,
        uniform: bool = False,
    ) -> None:
        generator = torch.Generator().manual_seed(1)
        self.frame_places = FramePlaces(torch.arange(images) // 8, torch.arange(images) % 8)
        draw = torch.rand if uniform else torch.randn
        self.views = [draw(images, 3, size, size, generator=generator).to(dtype) for size in sizes]

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, index: int) -> ViewBatch:
        return ViewBatch([view[index] for view in self.views], torch.tensor(index % 4), torch.tensor(index))


class RankShares(Sampler[list[int]]):
    """Global batches in order; of each, this rank's contiguous share."""

    def __init__(self, images: int, batch_size: int, rank: int, world: int) -> None:
        self.batch_size = batch_size
        self.starts = range(rank * batch_size, images, batch_size * world)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(start, start + self.batch_size)) for start in self.starts)


def noise_loader(
    images: int,
    global_batch: int,
    sizes: Sequence[int] = (32, 32),
    *,
    rank: int = 0,
    world: int = 1,
    dtype: torch.dtype = torch.float32,
    uniform: bool = False,
) -> DataLoader[ViewBatch]:
    """A training loader whose batches on ``world`` ranks, joined in rank order, are those of a single process."""
    shares = RankShares(images, global_batch // world, rank, world)
    return DataLoader(NoiseViews(images, sizes, dtype=dtype, uniform=uniform), batch_sampler=shares)
