"""Statistics of the clusters of an epoch, and when they are logged."""

from collections import Counter

import pytest
import torch

from sslbolts import DeepCluster, DeepClusterV2
from sslbolts._lightning import Callback
from sslbolts.callbacks import CollapseMonitor
from sslbolts.methods.clustering.cluster_statistics import INDICATORS, cluster_statistics
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader


def _deepcluster(**arguments):
    return DeepCluster(TinyBackbone(), num_clusters=4, pca_dim=8, lr_scaling="none", **arguments)


def _deepcluster_v2():
    arguments = {"hidden_dim": 16, "output_dim": 8, "num_prototypes": (4,), "num_banks": 1, "warmup_epochs": 0}
    return DeepClusterV2(TinyBackbone(), lr_scaling="none", **arguments)


METHODS = [_deepcluster, _deepcluster_v2]


def _labels(method):
    return method.pseudo_labels.labels if isinstance(method, DeepCluster) else method.bank.assignments[0]


def test_statistics_are_those_of_a_count():
    now = torch.tensor([[0, 0, 2, 2, 2, -100], [1, 1, 1, 1, 1, 1]])
    statistics = cluster_statistics(now, [5, 2])
    assert {name: value.item() for name, value in statistics.items()} == pytest.approx(
        {"train/clusters": 1.5, "train/clusters_in_use": (2 / 5 + 1 / 2) / 2, "train/largest_cluster": (3 / 5 + 1) / 2}
    )


def test_equal_clusters_under_other_names_agree_and_unrelated_ones_do_not():
    before = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
    for now, expected in (([[1, 1, 0, 0], [3, 3, 2, 2]], 1.0), ([[0, 1, 0, 1], [0, 1, 0, 1]], 0.0)):
        agreement = cluster_statistics(torch.tensor(now), [4, 4], before)["train/nmi_to_last_epoch"]
        assert agreement.item() == pytest.approx(expected, abs=1e-6)
        assert INDICATORS[1].is_bad(agreement.item())
    assert "train/nmi_to_last_epoch" not in cluster_statistics(torch.tensor(now), [4, 4], torch.full((2, 4), -1))


class _Values(Callback):
    """What every step says of the clusters that it learns, and what a count says of them."""

    def __init__(self):
        self.said, self.counted, self.agreement = [], [], []

    def on_train_start(self, trainer, pl_module):
        log_dict = pl_module.log_dict

        def noted(values, **settings):
            self.agreement += [value.item() for name, value in values.items() if name == "train/nmi_to_last_epoch"]
            log_dict(values, **settings)

        pl_module.log_dict = noted

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        sizes = Counter(_labels(pl_module).tolist()).values()
        self.counted.append({"train/clusters": len(sizes), "train/largest_cluster": max(sizes) / sum(sizes)})
        self.said.append({name: trainer.callback_metrics[name].item() for name in self.counted[-1]})


@pytest.mark.parametrize("make", METHODS)
def test_every_step_says_what_its_own_clusters_are_like(make):
    values = _Values()
    quiet_trainer(max_epochs=2, callbacks=[values]).fit(make(), noise_loader(32, 8, (32,)))
    assert len(values.said) == 8
    for said, counted in zip(values.said, values.counted):
        assert said == pytest.approx(counted)
    assert len(values.agreement) == 4  # of the second epoch


@pytest.mark.parametrize("make", METHODS)
def test_a_run_that_is_resumed_within_an_epoch_says_it_too(make, tmp_path):
    class Saves(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 1:
                trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    whole = _Values()
    quiet_trainer(max_epochs=2, callbacks=[Saves(), whole]).fit(make(), noise_loader(32, 8, (32,)))
    for epoch in (0, 1):
        values = _Values()
        again = quiet_trainer(max_epochs=epoch + 1, callbacks=[values])
        again.fit(make(), noise_loader(32, 8, (32,)), ckpt_path=tmp_path / f"{epoch}.ckpt")
        assert len(values.said) == 2
        assert values.said == [pytest.approx(counted) for counted in values.counted]
        assert values.agreement == (whole.agreement[2:] if epoch else [])


@pytest.mark.parametrize("make", METHODS)
def test_one_cluster_of_all_images_is_named_in_the_epoch_that_has_it(make):
    loader = noise_loader(32, 8, (32,))
    for view in loader.dataset.views:
        view[:] = view[0]
    monitor = CollapseMonitor(every_n_steps=1, patience=3)
    with pytest.warns(UserWarning, match="train/") as warned:
        quiet_trainer(max_epochs=1, callbacks=[monitor]).fit(make(), loader)
    said = " ".join(str(warning.message) for warning in warned)
    assert "train/largest_cluster is 1 at step 3" in said
    assert "train/clusters_in_use is 0.25 at step 3" in said
