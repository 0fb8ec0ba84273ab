"""Mutants of the methods that decorrelate."""

from functools import partial

from tests.mutants.mutant import Mutant

_mutant = partial(Mutant, family="decorrelation")

MUTANTS = (
    _mutant(
        name="Barlow Twins: the variance of a sample",
        file="losses/decorrelation.py",
        before="variance = all_sum(z.square().sum(0)) / images",
        after="variance = all_sum(z.square().sum(0)) / (images - 1)",
        tests=("tests/losses/test_decorrelation.py::test_the_correlation_is_that_of_numpy",),
    ),
    _mutant(
        name="Barlow Twins: statistics are of one rank's images",
        file="losses/decorrelation.py",
        before="    z = z - all_sum(z.sum(0)) / images\n    variance = all_sum(z.square().sum(0)) / images\n",
        after="    z = z - z.mean(0)\n    variance = z.square().mean(0)\n",
        tests=(
            "tests/losses/test_decorrelation.py::test_two_ranks_have_the_gradient_of_one_process_standardization_included",
        ),
    ),
    _mutant(
        name="Barlow Twins: biases and norms learn at the weights' rate",
        file="methods/base.py",
        before='                group["lr_scale"] = self.bias_lr_scale\n',
        after="                pass\n",
        tests=(
            "tests/methods/decorrelation/test_barlow_twins.py::test_biases_and_norms_have_a_learning_rate_of_their_own_and_no_decay",
        ),
    ),
    _mutant(
        name="VICReg: the variance of a population",
        file="losses/decorrelation.py",
        before="(z.var(0) + eps)",
        after="(z.var(0, correction=0) + eps)",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[vicreg_official-float64]",),
    ),
    _mutant(
        name="VICReg: the covariance is divided by the number of images",
        file="losses/decorrelation.py",
        before="covariance = z.T @ z / (len(z) - 1)",
        after="covariance = z.T @ z / len(z)",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[vicreg_official-float64]",),
    ),
    _mutant(
        name="VICReg: variance and covariance are of one rank's images",
        file="losses/decorrelation.py",
        before="    z1, z2 = gather(z1), gather(z2)  # (N, D)\n    if len(z1) < 2:",
        after="    if len(z1) < 2:",
        tests=(
            "tests/invariants/test_invariants.py::test_two_processes_equal_one_process_on_the_concatenated_batch[VICReg]",
        ),
    ),
    _mutant(
        name="W-MSE: embeddings are whitened about 0 instead of their mean",
        file="losses/whitening.py",
        before="rows = (x - x.mean(-2, keepdim=True)) / scale",
        after="rows = x / scale",
        tests=("tests/losses/test_whitening.py::test_whitened_rows_have_the_identity_as_covariance",),
    ),
    _mutant(
        name="W-MSE: the warm-up begins at 0",
        file="methods/decorrelation/wmse.py",
        before="    warmup_lead = 1\n",
        after="",
        tests=(
            "tests/methods/decorrelation/test_wmse.py::test_the_learning_rate_falls_in_two_steps_near_the_end",
            "tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[wmse_2views]",
        ),
    ),
    _mutant(
        name="W-MSE: the groups of the first pass are shuffled, too",
        file="methods/decorrelation/wmse.py",
        before="torch.stack([torch.arange(images, device=self.device), *shuffled])",
        after="torch.stack([torch.randperm(images, device=self.device), *shuffled])",
        tests=(
            "tests/methods/decorrelation/test_wmse.py::test_two_and_four_views_are_compared_pairwise_in_the_order_in_which_they_come",
        ),
    ),
)
