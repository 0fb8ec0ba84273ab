"""Pictures on two processes: every image once, drawn by one of them, and the neighbors of a single process."""

from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbolts.callbacks import ClusterSheet, KNNMonitor, NeighborSheet
from sslbolts.callbacks.pictures.shared.images import displayable
from sslbolts.distributed import rank
from tests.callbacks.host import Host, bank_loader, trainer, val_loader
from tests.callbacks.ranks import two_devices

NEIGHBORS, CLUSTERS = (
    f"sslbolts.callbacks.pictures.{name}" for name in ("neighbors.draw_neighbors", "clusters.draw_clusters")
)


def drawn(folder: str, shared: bool) -> dict[str, Any]:
    """What the sheets were given, on this rank."""
    torch.manual_seed(0)
    given: dict[str, Any] = {"rank": rank()}

    def neighbors(queries: Tensor, query_targets: Tensor, bank: Tensor, targets: Tensor, rows: Any, **_: Any) -> None:
        given["neighbors"] = (queries, bank, rows)

    def clusters(images: Tensor, features: Tensor, targets: Tensor, assignments: Tensor, **_: Any) -> None:
        given["clusters"] = (images, features, assignments)

    bank = bank_loader()
    monitor = [KNNMonitor(k=5, bank=bank)] if shared else []
    sheet = NeighborSheet(4, 5, bank=None if shared else bank, max_bank=None)
    with patch(NEIGHBORS, neighbors), patch(CLUSTERS, clusters):
        run = trainer(*monitor, sheet, ClusterSheet(clusters=3), default_root_dir=folder, **two_devices())
        run.validate(Host(), val_loader(), verbose=False)
    return given


def test_two_processes_draw_what_one_does(two_ranks, tmp_path):
    for shared in (False, True):
        first, second = two_ranks(drawn, str(tmp_path), shared)
        assert second == {"rank": 1}  # only the first draws
        torch.manual_seed(0)
        host = Host().eval()
        x, _ = bank_loader().dataset.tensors
        q, _ = val_loader().dataset.tensors
        shown = displayable(q)

        queries, bank, rows = first["neighbors"]
        with torch.no_grad():
            cosine = F.normalize(host(q)) @ F.normalize(host(x)).T
        for picture, mine in zip(queries, rows["Host"]):
            (place,) = (shown == picture).flatten(1).all(1).nonzero()[:1, 0].tolist()
            expected = cosine[place].argsort(descending=True)[:4]
            assert torch.equal(bank[mine], displayable(x[expected]))

        images, features, assignments = first["clusters"]
        assert len(images) == len(features) == len(assignments) == 97  # of an odd number, none twice
        places = [int((shown == image).flatten(1).all(1).nonzero()[0, 0]) for image in images]
        assert sorted(places) == list(range(97))
        with torch.no_grad():
            torch.testing.assert_close(features, host(q)[places])


def test_files_are_written_once(two_ranks, tmp_path):
    assert two_ranks(write, str(tmp_path)) == [0, 1]
    assert [path.name for path in tmp_path.glob("pictures/*")] == ["validate-clusters-epoch0000.png"]


def write(folder: str) -> int:
    torch.manual_seed(0)
    run = trainer(ClusterSheet(clusters=1, max_images=20), default_root_dir=folder, **two_devices())
    run.validate(Host(), val_loader(), verbose=False)
    return rank()
