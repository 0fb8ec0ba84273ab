"""What makes DeepCluster DeepCluster."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sslbolts import DeepCluster, UsageError
from sslbolts._lightning import Callback
from sslbolts.data import DatasetDataModule
from sslbolts.losses.clustering import balanced_cross_entropy
from sslbolts.methods.clustering.deepcluster import PseudoLabels
from sslbolts.networks.alexnet import AlexNet, Sobel
from sslbolts.transforms import MultiView, View
from tests.golden.reference import architectures
from tests.helpers.nets import TinyBackbone, without_batch_norm
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.helpers.views import noise_loader

_VIEW = MultiView((View(32, scale=(0.5, 1.0)),), normalize=False)


def _method(backbone=None, **arguments):
    chosen = {"num_clusters": 4, "pca_dim": 8, "lr_scaling": "none", **arguments}
    return DeepCluster(backbone or TinyBackbone(), **chosen)


class _Epochs(Callback):
    """What each batch finds."""

    def __init__(self):
        self.labels, self.classifiers, self.groups = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.labels.append(pl_module.pseudo_labels.labels.clone())
        self.classifiers.append(copy.deepcopy(pl_module.classifier.state_dict()))
        self.groups = [dict(group) for group in trainer.optimizers[0].param_groups]
        self.remembered = [p in trainer.optimizers[0].state for p in pl_module.classifier.parameters()]


def test_the_network_of_the_paper_has_its_parameters():
    with torch.device("meta"):
        method = DeepCluster(AlexNet(in_chans=2), sobel=True, num_clusters=10000)
    reference = architectures()["deepcluster_alexnet_sobel_10k"]
    assert sum(p.numel() for p in method.parameters()) == reference["total"]
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == reference["trainable"]


def test_alexnet_starts_as_in_the_official_code_and_runs_on_edges():
    method = DeepCluster(AlexNet(), sobel=True, num_clusters=4)
    layers = [layer for layer in method.backbone.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    stds = [(2 / (k * k * out)) ** 0.5 for k, out in ((11, 96), (5, 256), (3, 384), (3, 384), (3, 256))] + [0.01, 0.01]
    for layer, std in zip(layers, stds, strict=True):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.03)  # of 23,000 draws and more
        assert layer.weight.abs().max() > 3 * std  # not uniform
        assert not layer.bias.any()
    assert method.eval()(torch.randn(1, 3, 224, 224)).shape == (1, 4096)


def test_sobel_finds_edges_and_no_colors():
    image = torch.zeros(1, 3, 5, 6)
    image[..., 3:] = torch.tensor([3.0, 0.0, 3.0])[:, None, None]
    horizontal, vertical = Sobel()(image)[0, :, 1:-1, 1:-1]
    assert horizontal[1].tolist() == pytest.approx([0, -8, -8, 0])
    assert vertical.abs().max() < 1e-5
    assert not any(p.requires_grad for p in Sobel().parameters())


@pytest.mark.parametrize("sobel", [True, False])
def test_every_epoch_has_clusters_and_a_classifier_of_its_own(sobel):
    watcher = _Epochs()
    backbone = "resnet18" if sobel else TinyBackbone()
    thin = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
    arguments = {"stem": "cifar", "backbone_kwargs": thin} if sobel else {}
    method = _method(backbone, sobel=sobel, **arguments)
    quiet_trainer(max_epochs=2, callbacks=[watcher]).fit(method, noise_loader(32, 8, (32,)))
    assert all(torch.equal(labels, watcher.labels[0]) for labels in watcher.labels[:4])
    assert all(torch.equal(labels, watcher.labels[4]) for labels in watcher.labels[4:])
    for first in (0, 4):
        weight, bias = watcher.classifiers[first].values()
        assert 0.005 < weight.std() < 0.015
        assert not bias.any()
    assert not torch.equal(watcher.classifiers[0]["weight"], watcher.classifiers[4]["weight"])
    assert not torch.equal(watcher.classifiers[3]["weight"], watcher.classifiers[4]["weight"])


def test_another_fit_of_the_same_module_clusters_anew():
    method, first, second = _method(), _Epochs(), _Epochs()
    for seen in (first, second):  # the last epoch of the one has the number of the first epoch of the other
        quiet_trainer(max_epochs=1, callbacks=[seen]).fit(method, noise_loader(32, 8, (32,)))
    assert not torch.equal(first.classifiers[-1]["weight"], second.classifiers[0]["weight"])
    assert int(second.classifiers[0]["bias"].count_nonzero()) == 0


def test_the_classifier_has_no_momentum_and_the_rates_are_constant():
    watcher = _Epochs()
    quiet_trainer(max_epochs=1, callbacks=[watcher]).fit(_method(), noise_loader(32, 8, (32,)))
    backbone, classifier = watcher.groups
    assert (backbone["momentum"], classifier["momentum"]) == (0.9, 0.0)
    assert backbone["weight_decay"] == classifier["weight_decay"] == 1e-5
    assert backbone["lr"] == classifier["lr"] == 0.05


def test_an_optimizer_forgets_what_it_knew_of_the_old_classifier():
    class Forgets(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 0:
                assert not any(p in trainer.optimizers[0].state for p in pl_module.classifier.parameters())

    optimizer = partial(torch.optim.AdamW, lr=1e-3)
    quiet_trainer(max_epochs=3, callbacks=[Forgets()]).fit(_method(optimizer=optimizer), noise_loader(16, 8, (32,)))


def test_images_of_one_kind_are_one_cluster():
    """Bright, dark, red and blue images, each with a little noise."""
    kinds = torch.tensor([[2.0, 2.0, 2.0], [-2.0, -2.0, -2.0], [2.0, -2.0, -2.0], [-2.0, -2.0, 2.0]])
    loader = noise_loader(32, 8, (32,))
    truth = torch.arange(32) % 4
    loader.dataset.views[0] = kinds[truth][:, :, None, None] + 0.1 * loader.dataset.views[0]
    watcher = _Epochs()
    quiet_trainer(max_steps=1, callbacks=[watcher]).fit(_method(pca_dim=3), loader)
    found = watcher.labels[0]
    assert all(len(found[truth == kind].unique()) == 1 for kind in range(4))


def test_loss_is_that_of_images_drawn_uniformly_over_clusters():
    pseudo = PseudoLabels(8, 4)
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 2, 2])
    pseudo.take(labels, torch.tensor([5, 1, 2, 0]), epoch=0)
    logits = torch.randn(8, 4)
    loss = balanced_cross_entropy(logits, labels, pseudo.weights())
    each = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(loss, torch.stack([each[labels == c].mean() for c in range(3)]).mean())
    assert pseudo.weights()[labels].mean() == pytest.approx(1)


class _Draws(Callback):
    """The clusters that each epoch's batches are of, and the losses beside plain cross entropies."""

    def __init__(self):
        self.drawn, self.losses, self.plain = {}, [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        with torch.no_grad():
            labels = pl_module.pseudo_labels.labels[batch.indices]
            self.drawn.setdefault(trainer.current_epoch, []).append((labels, pl_module.pseudo_labels.sizes.clone()))
            logits = pl_module.classifier(pl_module(batch.views[0]).relu())
            self.plain.append(F.cross_entropy(logits, labels).item())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())

    def counts(self, epoch):
        return torch.cat([labels for labels, _ in self.drawn[epoch]]).bincount(minlength=4)


def _dataset(images=48):
    """Many bright images, few dark, red and blue ones."""
    kinds = torch.tensor([[250, 250, 250], [10, 10, 10], [250, 10, 10], [10, 10, 250]])
    truth = torch.tensor([0] * (images - 12) + [1] * 6 + [2] * 4 + [3] * 2)
    noise = torch.randint(-9, 6, (images, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return torch.utils.data.TensorDataset((kinds[truth][:, :, None, None] + noise).clamp(0, 255).byte(), truth)


def _fit_on_a_datamodule(world=1, workers=0, **trainer):
    draws = _Draws()
    data = DatasetDataModule(
        _dataset(), views=_VIEW, batch_size=8 // world, num_workers=workers, in_memory=True, seed=5, image_size=32
    )
    torch.manual_seed(0)
    method = _method(without_batch_norm(TinyBackbone()), pca_dim=3)
    quiet_trainer(world=world, callbacks=[draws], **{"max_epochs": 2, **trainer}).fit(method, datamodule=data)
    return draws


@pytest.mark.parametrize("workers", [0, 1])
def test_a_datamodule_draws_images_uniformly_over_clusters(workers):
    draws = _fit_on_a_datamodule(workers=workers)
    for epoch in range(2):
        sizes = draws.drawn[epoch][0][1]
        assert sizes.max() > 2 * sizes.min()  # the clusters are of very different sizes
        assert draws.counts(epoch).tolist() == [12] * 4
    assert draws.losses == pytest.approx(draws.plain, rel=1e-5)  # nothing is weighed


def _drawn_clusters(world):
    drawn = _fit_on_a_datamodule(world).drawn
    return {epoch: [labels.tolist() for labels, _ in batches] for epoch, batches in drawn.items()}


def test_two_processes_draw_the_images_of_one(two_ranks):
    one, both = _drawn_clusters(1), two_ranks(_drawn_clusters, 2)
    for epoch in range(2):
        assert [first + second for first, second in zip(both[0][epoch], both[1][epoch])] == one[epoch]


def test_batches_in_one_order_are_weighed_instead():
    draws = _fit_on_a_datamodule(overfit_batches=3, max_epochs=1)
    assert draws.counts(0).max() > 12
    assert draws.losses != pytest.approx(draws.plain, rel=1e-3)


def test_directions_of_features_are_clustered_and_not_their_lengths():
    """Two directions, each in two lengths that differ a thousandfold."""
    method = _method(num_clusters=2, pca_dim=None)
    method._trainer = type("Position", (), {"current_epoch": 0, "progress_bar_callback": None})()
    method.pseudo_labels.resize(40)
    which, lengths = torch.arange(40) % 2, torch.tensor([0.1, 100.0])[torch.arange(40) // 2 % 2]
    method._cluster(torch.randn(2, 16)[which] * lengths[:, None])
    labels = method.pseudo_labels.labels
    assert labels[0] != labels[1]
    assert torch.equal(labels, labels[:2].repeat(20))


def test_features_before_a_relu_are_clustered_and_the_classifier_sees_them_after_it():
    class Negative(nn.Module):
        num_features = 16

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return -self.scale * x.abs().flatten(1)[:, :16]

    recorder = Recorder()
    optimizer = partial(torch.optim.SGD, lr=0.0)
    quiet_trainer(max_steps=1, callbacks=[recorder]).fit(
        _method(Negative(), optimizer=optimizer), noise_loader(32, 8, (32,))
    )
    assert recorder.losses[0].item() == pytest.approx(torch.tensor(4.0).log().item())  # all logits are 0
    assert not recorder.gradients[0]["backbone.scale"].any()


def test_clusters_without_images_are_no_classes():
    """Two kinds of equal images are two clusters of four; the loss is that of a classifier of two."""

    class Reindexed(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            with torch.no_grad():
                labels, features = pl_module.pseudo_labels.labels, pl_module(batch.views[0]).relu()
            kinds, labels = labels.unique(return_inverse=True)
            assert len(kinds) == 2
            layer = nn.Linear(16, 2)
            layer.load_state_dict({name: value[kinds] for name, value in pl_module.classifier.state_dict().items()})
            self.loss = F.cross_entropy(layer(features), labels[batch.indices])
            self.loss.backward()
            self.gradient = torch.zeros(4, 16).index_copy_(0, kinds, layer.weight.grad)

    loader = noise_loader(32, 8, (32,))
    loader.dataset.views[0][0::2] = loader.dataset.views[0][0]
    loader.dataset.views[0][1::2] = loader.dataset.views[0][1]
    expected, recorder = Reindexed(), Recorder()
    quiet_trainer(max_steps=1, callbacks=[expected, recorder]).fit(_method(), loader)
    torch.testing.assert_close(recorder.losses[0], expected.loss.detach())
    torch.testing.assert_close(recorder.gradients[0]["classifier.weight"], expected.gradient)
    assert all(gradient.isfinite().all() for gradient in recorder.gradients[0].values())


def test_a_checkpoint_loads_without_its_images_and_resumes_only_with_them(tmp_path):
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(_method(), noise_loader(16, 8, (32,)))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = DeepCluster.load_from_checkpoint(tmp_path / "a.ckpt", backbone=TinyBackbone())
    assert torch.equal(again.pseudo_labels.labels, trainer.lightning_module.pseudo_labels.labels)
    with pytest.raises(UsageError, match="24 training images, but the clusters are of 16"):
        quiet_trainer(max_epochs=2).fit(again, noise_loader(24, 8, (32,)))


def test_wrong_arguments_are_named():
    for arguments, words in (
        ({"num_clusters": 1}, "num_clusters=1"),
        ({"pca_dim": 17}, "pca_dim=17: the backbone has 16 features"),
        ({"final_lr": 0.1}, "the learning rate is constant"),
        ({"milestones": (0.5,)}, "the learning rate is constant"),
        ({"pca_dim": 0}, "pca_dim=0"),
        ({"iterations": 0}, "iterations=0"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1"),
        ({"backbone": "resnet10t", "sobel": True, "in_chans": 4}, "in_chans=4: leave it out"),
    ):
        with pytest.raises(UsageError, match=words):
            _method(**arguments)
