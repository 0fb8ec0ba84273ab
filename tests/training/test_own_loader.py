"""Reading images a second time, by the places that a pass gave them."""

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslbolts.training.own_loader import OwnLoader


class Numbers(Dataset):
    """0, 1, 2, ... of which every third cannot be read."""

    def __init__(self, leaves_out: bool) -> None:
        self.leaves_out = leaves_out

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor | None:
        return None if self.leaves_out and index % 3 == 0 else torch.tensor(index)


def _readable(rows: list[Tensor | None]) -> Tensor:
    return torch.stack([row for row in rows if row is not None])


def _found_again(leaves_out: bool) -> tuple[list[int], list[int]]:
    loader = OwnLoader(DataLoader(Numbers(leaves_out), batch_size=4, collate_fn=_readable))
    places, first = [], []
    for number, batch in loader:
        places += [number * 2**32 + row for row in range(len(batch))]
        first += batch.tolist()
    order = list(reversed(range(len(places))))
    second = {}
    for batch, rows in loader.again(torch.tensor(places)[order]):
        second.update({place: int(batch[row]) for place, row in rows})
    return [first[i] for i in order], [second[place] for place in range(len(order))]


def test_images_are_found_again_also_where_others_were_left_out():
    for leaves_out in (False, True):
        first, second = _found_again(leaves_out)
        assert len(first) == (8 if leaves_out else 12)
        assert second == first
