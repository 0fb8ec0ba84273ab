"""What a method logs as chance is what guessing has: of unrelated images, and of images that are all one.

The names "over chance" and "of chance" promise a 1 there, whatever the batch, the queue or the number of answers.
"""

from functools import partial

import pytest
import torch

from sslbolts.methods.registry import METHODS, get_method
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader
from tests.invariants.cases import case_of

STEPS = 64
ARGUMENTS = {
    "Exemplar": {"grayscale_p": 0.0},  # otherwise something of an image is in all its views
    "Jigsaw": {"num_permutations": 4},  # the fewer answers, the smaller the error
    "MoCo": {"queue_length": 8},
}


def _methods_that_log(metric: str) -> list[str]:
    return [name for name in METHODS if any(i.metric == metric for i in get_method(name).indicators)]


def _logged(case, loader, metric: str, *, steps: int, **arguments) -> torch.Tensor:
    """The values of a metric in the steps of a run that changes no weight."""
    module = case.module(optimizer=partial(torch.optim.SGD, lr=0.0), **arguments)
    found: list[float] = []

    def log(name, value, *_, **__):
        if name == metric:
            found.append(float(value))

    module.log = log
    quiet_trainer(max_steps=steps, max_epochs=1, limit_val_batches=0).fit(module, loader)
    return torch.tensor(found)


# Of its pairs some answers are commoner: the rate of the commonest is its chance, and nothing untrained knows it.
@pytest.mark.parametrize(
    "name", [name for name in _methods_that_log("train/accuracy_over_chance") if name != "RelativePosition"]
)
def test_the_accuracy_of_an_untrained_network_on_noise_is_that_of_chance(name):
    """Within four standard errors, relative to the mean: a value twice or a third of the right one is seen."""
    case = case_of(name)
    loader = noise_loader(STEPS * 8, 8, case.sizes, uniform=case.uniform)
    found = _logged(case, loader, "train/accuracy_over_chance", steps=STEPS, **ARGUMENTS.get(name, {}))
    assert len(found) > 0.9 * STEPS
    error = float(found.std() / found.mean()) / len(found) ** 0.5
    assert error < 0.16
    assert float(found.mean()) == pytest.approx(1.0, abs=4 * error)


@pytest.mark.parametrize("name", ["SimCLR", "CPC", "Exemplar", "TimeContrastive"])
def test_images_that_are_all_one_have_the_loss_of_chance(name):
    """Where nothing tells the candidates apart, all are equally likely."""
    case = case_of(name)
    loader = noise_loader(16, 8, case.sizes)
    for view in loader.dataset.views:
        view.zero_()
    found = _logged(case, loader, "train/loss_of_chance", steps=2)
    torch.testing.assert_close(found, torch.ones(2), rtol=1e-4, atol=1e-4)


def test_the_commonest_answer_is_the_chance_of_relative_positions():
    """A head that says "right" of every pair: of a grid of 3 by 3, 6 of 40 ordered pairs of neighbors are that."""
    case = case_of("RelativePosition")
    module = case.module(grid=3, pairs="all")
    labels = module.pairs[:, 2].tolist()
    commonest = max(set(labels), key=labels.count)
    assert (labels.count(commonest), len(labels)) == (6, 40)
    module.head.forward = lambda z: torch.nn.functional.one_hot(torch.full((len(z),), commonest), 8).float()
    logged = {}
    module.log = lambda name, value, **_: logged.update({name: float(value)})
    module.training_step(next(iter(case.loader())), 0)
    assert logged["train/matching_accuracy"] == pytest.approx(6 / 40)
    assert logged["train/accuracy_over_chance"] == pytest.approx(1.0)
