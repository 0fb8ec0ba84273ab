"""What makes DeepCluster-v2 DeepCluster-v2."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from sslbolts import DeepClusterV2, UsageError
from sslbolts._lightning import Callback
from sslbolts.distributed import rank
from sslbolts.methods.clustering.deepcluster_v2 import EmbeddingBank
from tests.helpers.nets import TinyBackbone, WithBatchNorm
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import NoiseViews, noise_loader

SIZES = (32, 32, 16)


def _method(backbone=None, **arguments):
    chosen = {"hidden_dim": 16, "output_dim": 8, "num_prototypes": (3, 4, 5), **arguments}
    return DeepClusterV2(backbone or TinyBackbone(), **{"lr_scaling": "none", "warmup_epochs": 0, **chosen})


class _Bank(Callback):
    """The bank as each batch finds it."""

    def __init__(self):
        self.states = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.states.append({name: b.clone() for name, b in pl_module.bank.named_buffers()})


def test_clusters_change_at_the_start_of_an_epoch_only_and_the_embeddings_with_every_step():
    watcher = _Bank()
    quiet_trainer(max_epochs=2, callbacks=[watcher]).fit(_method(WithBatchNorm()), noise_loader(16, 4, SIZES))
    states = watcher.states
    assert [int(state["epoch"]) for state in states] == [0] * 4 + [1] * 4
    for earlier, later in pairwise(states):
        new_epoch = earlier["epoch"] != later["epoch"]
        assert torch.equal(earlier["centroids_0"], later["centroids_0"]) == (not new_epoch)
        assert torch.equal(earlier["rows"], later["rows"]) == new_epoch or new_epoch
    assert [int(state["seen"].sum()) for state in states] == [0, 4, 8, 12] * 2
    assert (states[0]["assignments"] >= 0).all()


def test_the_first_embeddings_are_those_of_one_pass_and_the_next_those_of_the_epoch():
    class Still(DeepClusterV2):
        """Learns nothing, so that embeddings can be computed again."""

        def on_before_optimizer_step(self, optimizer):
            self.zero_grad()

    torch.manual_seed(0)
    method, watcher = (
        Still(TinyBackbone(), hidden_dim=16, output_dim=8, num_prototypes=(3,), warmup_epochs=0),
        _Bank(),
    )
    method.projector[1] = torch.nn.Identity()
    loader = noise_loader(16, 4, SIZES)
    with torch.no_grad():
        expected = [F.normalize(method.projector(method.backbone(view)), dim=1) for view in loader.dataset.views]
    quiet_trainer(max_epochs=2, callbacks=[watcher]).fit(method, loader)
    torch.testing.assert_close(watcher.states[0]["rows"], torch.stack([expected[0], expected[0]]))
    torch.testing.assert_close(watcher.states[4]["rows"], torch.stack(expected[:2]))


def test_any_number_of_images_can_be_embedded_before_the_first_epoch():
    """33 in batches of 16: a single one would be left for the last, and has no batch statistics."""
    loader = DataLoader(NoiseViews(33, SIZES), batch_size=16, drop_last=True)
    watcher = _Bank()
    quiet_trainer(max_steps=1, callbacks=[watcher]).fit(_method(), loader)
    torch.testing.assert_close(watcher.states[0]["rows"].norm(dim=2), torch.ones(2, 33))


def test_images_that_the_epoch_before_left_out_have_no_cluster():
    bank = EmbeddingBank(6, 4, banks=2, prototypes=(2, 2, 2))
    indices = torch.tensor([5, 0, 3, 2])
    bank.stage(F.normalize(torch.randn(4, 2, 4), dim=2), indices)
    bank.commit()
    bank.cluster(0, 3, iterations=5)
    assert ((bank.assignments >= 0).nonzero()[:, 1].reshape(3, 4) == torch.tensor([0, 2, 3, 5])).all()
    assert (bank.assignments[:, [1, 4]] == -100).all()
    assert not bank.seen.any()
    assert bank.epoch == 3


def test_heads_take_the_banks_in_turn():
    bank = EmbeddingBank(40, 4, banks=2, prototypes=(2, 2, 2))
    one, other = torch.eye(4)[:2], torch.eye(4)[2:]
    half, quarter = torch.arange(40) // 20, torch.arange(40) % 4 // 3
    bank.stage(torch.stack([one[half], other[quarter]], dim=1), torch.arange(40))
    bank.commit()
    bank.cluster(0, 0, iterations=10)
    for head, truth in enumerate((half, quarter, half)):
        found = bank.assignments[head]
        if len(found.unique()) == 2:  # else both first centroids were one row
            assert (found == found[0]).equal(truth == truth[0])
        spanned = one if head % 2 == 0 else other
        torch.testing.assert_close(bank.centroids[head] @ spanned.T @ spanned, bank.centroids[head])


def _bank_on_ranks():
    bank = EmbeddingBank(12, 4, banks=2, prototypes=(3, 3))
    everything = F.normalize(torch.randn(12, 2, 4, generator=torch.Generator().manual_seed(0)), dim=2)
    mine = torch.arange(0, 6) if rank() == 0 else torch.arange(6, 12)
    for part in mine.chunk(2):
        bank.stage(everything[part], part)
    bank.commit()
    bank.cluster(1, 0, iterations=5)
    return bank.state_dict(), everything


def test_all_ranks_have_the_embeddings_and_clusters_of_one_process(two_ranks):
    first, second = (state for state, _ in two_ranks(_bank_on_ranks))
    bank = EmbeddingBank(12, 4, banks=2, prototypes=(3, 3))
    everything = F.normalize(torch.randn(12, 2, 4, generator=torch.Generator().manual_seed(0)), dim=2)
    bank.stage(everything, torch.arange(12))
    bank.commit()
    bank.cluster(1, 0, iterations=5)
    for name, value in bank.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value)


def test_every_parameter_is_adapted_and_decayed_alike():
    (group,) = _method().parameter_groups()
    assert "weight_decay" not in group
    assert len(group["params"]) == len(list(_method().parameters()))


def test_a_checkpoint_loads_without_its_images_and_resumes_only_with_them(tmp_path):
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(_method(), noise_loader(16, 4, SIZES))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = DeepClusterV2.load_from_checkpoint(tmp_path / "a.ckpt", backbone=TinyBackbone())
    assert torch.equal(again.bank.assignments, trainer.lightning_module.bank.assignments)
    with pytest.raises(UsageError, match="20 training images, but the clusters are of 16"):
        quiet_trainer(max_epochs=2).fit(again, noise_loader(20, 4, SIZES))


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="num_prototypes=1: it must be a whole number of at least 2"):
        _method(num_prototypes=(1,))
    for arguments in ({"num_banks": 0}, {"iterations": 0}, {"temperature": float("nan")}, {"output_dim": 0.5}):
        ((name, value),) = arguments.items()
        with pytest.raises(UsageError, match=f"{name}={value}"):
            _method(**arguments)
    with pytest.raises(UsageError, match="num_prototypes does not fit"):
        quiet_trainer(max_epochs=1).fit(_method(num_prototypes=(17,)), noise_loader(16, 4, SIZES))
    with pytest.raises(UsageError, match="a batch of 1 views"):
        quiet_trainer(max_epochs=1).fit(_method(), noise_loader(16, 4, (32,)))
