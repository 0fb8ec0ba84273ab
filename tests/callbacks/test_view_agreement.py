"""ViewAgreement against a naive loop, and what a run sees of it."""

import torch
from torch.nn.functional import cosine_similarity

from sslbolts._lightning import Trainer
from sslbolts.callbacks import ViewAgreement
from sslbolts.callbacks.view_agreement import found_again
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.methods import SimCLR

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}


def naive(first, second):
    hits = 0
    for place, row in enumerate(first):
        similar = [float(cosine_similarity(row, other, dim=0)) for other in second]
        hits += all(similar[place] > value for other, value in enumerate(similar) if other != place)
    return hits / len(first)


def test_it_is_the_share_that_a_loop_counts():
    draws = torch.Generator().manual_seed(0)
    first = torch.randn(40, 6, generator=draws)
    second = first + 1.5 * torch.randn(40, 6, generator=draws)
    share = naive(first, second)
    assert 0.1 < share < 0.9
    assert abs(found_again(first, second) - share) < 1e-6


def test_features_that_are_equal_find_nothing_and_no_numbers_are_no_share():
    assert found_again(torch.ones(4, 3), torch.ones(4, 3)) == 0
    assert found_again(torch.full((4, 3), torch.nan), torch.ones(4, 3)) != found_again(torch.eye(3), torch.eye(3))


def fit(*callbacks, epochs=1):
    torch.manual_seed(0)
    method = SimCLR("resnet18", backbone_kwargs=TINY, hidden_dim=8, output_dim=4, warmup_epochs=0)
    trainer = Trainer(
        max_epochs=epochs, limit_train_batches=2, callbacks=list(callbacks), logger=False, accelerator="cpu",
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=8, num_workers=0, seed=0))
    return trainer, method


def test_it_leaves_no_trace_and_its_draws_are_the_same_each_time():
    monitor = ViewAgreement(images=70, every_n_epochs=2)  # two batches, of which one is not full
    trainer, method = fit(monitor, epochs=3)
    _, alone = fit(epochs=3)
    for one, other in zip(method.state_dict().values(), alone.state_dict().values()):
        assert torch.equal(one, other)
    values = {name: float(value) for name, value in trainer.callback_metrics.items() if "agreement" in name}
    assert set(values) == {
        *monitor.metrics, "agreement/top1/raw_pixels", "agreement/top1/untrained"
    }  # fmt: skip
    assert 1 <= values["agreement/rankme"] <= 8
    again = ViewAgreement(images=70)
    fit(again)
    assert again.baseline_values == monitor.baseline_values
