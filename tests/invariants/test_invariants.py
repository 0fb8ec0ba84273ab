"""What holds for every method of the registry. Reference values of their losses are in tests/golden."""

import functools
from collections.abc import Callable

import pytest
import torch

from sslbolts import METHODS
from tests.invariants import checks, devices, waiting, without_values
from tests.invariants.cases import MethodCase, case_of

LEARNS = {"SimCLR", "MoCo", "MeanTeacher", "DeepClusterV2", "RotNet", "TimeContrastive", "Word2Vec", "SemiSupervised"}
"""Methods whose short runs are part of ``make test``; those of all are part of ``make test-slow``.

One for each thing that learning depends on: negatives in the batch, a queue, a teacher, a memory of all images,
labels of the method's own, videos, text, labels and another method's loss together. A step of each of the others is
compared with its official code in tests/trajectories and tests/golden.
"""

OF_EVERY_STATE = {"SimCLR", "MoCo", "InstanceDiscrimination", "DINO", "OBoW", "WMSE", "SwAV", "DeepClusterV2"}
OF_EVERY_STATE |= {"Colorization", "BiGAN", "TimeContrastive", "MaskedLanguageModel"}
"""Methods with every kind of state and of arithmetic, likewise: queue, memory, teacher, words, clusters, float64."""


def _others_are_slow(quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


@pytest.fixture(params=list(METHODS), scope="module")
def case(request) -> MethodCase:
    return case_of(request.param)


@pytest.fixture
def image_case(case) -> MethodCase:
    if case.learns_from != "images":
        pytest.skip(f"{case.method.__name__} learns from {case.learns_from}")
    return case


@pytest.fixture(scope="session")
def watch(tmp_path_factory) -> Callable[[str], checks.Watched]:
    """A method's watched run, once for its tests on two ranks, which run before all others, and for those."""
    return functools.cache(lambda name: checks.watched_run(case_of(name), tmp_path_factory.mktemp("watched")))


@pytest.fixture
def watched(case, watch) -> checks.Watched:
    return watch(case.method.__name__)


def test_two_processes_equal_one_process_on_the_concatenated_batch(case, two_ranks):
    checks.two_processes_equal_one(case, two_ranks)


def test_teacher_and_queue_move_once_per_optimizer_step(case):
    checks.slow_state_moves_once_per_optimizer_step(case)


def test_indicators_are_logged(case, watched):
    checks.indicators_are_logged(case, watched)


def test_resumed_run_is_the_uninterrupted_one_bit_for_bit(case, watched):
    checks.resumed_run_is_the_uninterrupted_one(case, watched)


@pytest.mark.slow
def test_resumed_run_is_the_uninterrupted_one_from_every_place_of_an_epoch(case, watched):
    checks.resumed_run_is_the_uninterrupted_one(case, watched, checks.PLACES)


def test_monitors_change_no_bit_of_the_training(case, watched):
    checks.monitors_change_no_bit(case, watched)


def test_evaluation_on_two_processes_is_that_on_one(image_case, watched, two_ranks):
    checks.evaluation_on_two_processes_is_that_on_one(image_case, watched, two_ranks)


def test_it_can_be_pickled_and_sent_to_another_process(case):
    checks.it_can_be_pickled(case)


@pytest.mark.parametrize("name", _others_are_slow(LEARNS))
def test_short_run_beats_the_untrained_network(name):
    checks.it_learns(case_of(name))


def test_every_family_learns_in_make_test_but_those_that_take_long():
    """The quickest run of these two takes ten seconds and more."""
    families, quick = ({METHODS[name].family for name in names} for names in (METHODS, LEARNS))
    assert families - quick == {"decorrelation", "masked"}


def test_backbone_is_exported_exactly(image_case, tmp_path):
    checks.backbone_is_exported_exactly(image_case, tmp_path)


@pytest.fixture(scope="module")
def eager(case) -> torch.Tensor:
    return checks.losses_of_two_steps(case)


def test_half_precision_stays_finite_and_near_full_precision(case, eager):
    checks.half_precision_is_finite(case, eager)


def test_compiled_backbone_has_the_same_loss(case, eager):
    checks.compiled_backbone_has_the_same_loss(case, eager, "eager")  # traced; what compilers make of it is in the next


@pytest.mark.slow
def test_backbone_compiled_by_inductor_has_the_same_loss(case, eager):
    checks.compiled_backbone_has_the_same_loss(case, eager, "inductor")


def test_training_step_never_waits_for_the_device(case):
    waiting.step_never_waits_for_the_device(case)


@pytest.mark.parametrize("name", _others_are_slow(OF_EVERY_STATE))
def test_training_and_monitors_run_where_there_is_no_float64(name):
    devices.trains_where_there_is_no_float64(case_of(name))


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 asks a driver for fake CUDA tensors too")
def test_step_and_monitors_run_on_a_gpu_that_holds_no_values(case):
    without_values.step_runs_without_values(case)


@pytest.mark.cuda
def test_training_step_never_waits_for_the_gpu(case):
    waiting.step_never_waits_for_the_gpu(case)
