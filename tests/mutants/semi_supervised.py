"""Mutants of the methods with some labels."""

from functools import partial

from tests.mutants.mutant import Mutant

_mutant = partial(Mutant, family="semi-supervised")

MUTANTS = (
    _mutant(
        name="the labeled loss is divided by all images",
        file="losses/consistency.py",
        before="labeled = all_sum((targets >= 0).sum().to(logits.dtype)) / world_size()",
        after="labeled = logits.new_tensor(float(len(targets)))",
        tests=("tests/losses/test_consistency.py::test_only_labeled_images_count_in_the_cross_entropy",),
    ),
    _mutant(
        name="the labeled loss is divided by one rank's labels",
        file="losses/consistency.py",
        before="labeled = all_sum((targets >= 0).sum().to(logits.dtype)) / world_size()",
        after="labeled = (targets >= 0).sum().to(logits.dtype)",
        tests=("tests/losses/test_consistency.py::test_ranks_with_different_numbers_of_labels_average_to_one_process",),
    ),
    _mutant(
        name="classes of turned images are laid out image by image",
        file="methods/semi_supervised/beside.py",
        before="return features, targets.repeat(each)",
        after="return features, targets.repeat_interleave(each)",
        tests=(
            "tests/methods/semi_supervised/test_semi_supervised.py::test_s4l_has_classes_of_all_four_rotations_and_the_mean_of_two_means",
        ),
    ),
    _mutant(
        name="every rank draws the same labeled images",
        file="data/mixed_sampler.py",
        before="first = (position * self.num_replicas + self.rank) * few",
        after="first = position * self.num_replicas * few",
        tests=("tests/data/test_mixed_batches.py::test_ranks_share_the_images_of_one_process",),
    ),
    _mutant(
        name="the adversarial divergence has a gradient through the clean prediction",
        file="losses/semi_supervised.py",
        before="clean.detach().log_softmax(1)",
        after="clean.log_softmax(1)",
        tests=(
            "tests/losses/test_semi_supervised.py::test_the_divergence_is_from_the_perturbed_to_the_clean_distribution",
        ),
    ),
    _mutant(
        name="the ramp of the consistency weight is not a square",
        file="optim/schedules.py",
        before="math.exp(-5 * remaining**2)",
        after="math.exp(-5 * remaining)",
        tests=(
            "tests/methods/teacher_student/test_mean_teacher.py::test_the_weight_of_agreement_rises_like_the_papers_and_is_a_function_of_the_step",
        ),
    ),
    _mutant(
        name="labels that were to be hidden reach the training",
        file="data/base.py",
        before="            batch = batch._replace(targets=self._labels[batch.indices])\n",
        after="            pass\n",
        tests=(
            "tests/data/test_labels.py::test_every_class_keeps_as_many_labels_and_views_and_evaluation_stay_as_they_are",
        ),
    ),
    _mutant(
        name="the class head takes the unlabeled part of the batch",
        file="methods/semi_supervised/semi_supervised.py",
        before="return _rows(batch, slice(None, first)), _rows(batch, slice(first, None))",
        after="return _rows(batch, slice(first, None)), _rows(batch, slice(None, first))",
        tests=(
            "tests/methods/semi_supervised/test_semi_supervised.py::test_apart_the_labeled_have_classes_and_the_unlabeled_the_methods_loss",
        ),
    ),
)
