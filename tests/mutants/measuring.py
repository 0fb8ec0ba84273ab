"""Mutants of what measures: probes and other monitors, readouts, protocols; and of what is written."""

from functools import partial

from tests.mutants.mutant import Mutant

_monitor = partial(Mutant, family="monitors")
_readout = partial(Mutant, family="readouts")
_protocol = partial(Mutant, family="protocols")
_checkpoint = partial(Mutant, family="checkpoints")

MUTANTS = (
    _monitor(
        name="images that a sampler repeats count twice in kNN and probe",
        file="training/rows.py",
        before="return ~torch.cat([*self._repeated, torch.empty(0, dtype=torch.bool)]).to(device)",
        after="return everything",
        tests=(
            "tests/callbacks/test_two_ranks.py::test_odd_numbers_of_queries_give_the_numbers_of_one_process_exactly",
        ),
    ),
    _monitor(
        name="images of a repeating loader count twice, where batches have indices",
        file="training/rows.py",
        before="        return first[owner == rank()]\n",
        after="        return everything\n",
        tests=(
            "tests/callbacks/test_two_ranks.py::test_images_of_a_shuffling_sampler_are_counted_once_by_their_index",
        ),
    ),
    _monitor(
        name="labels of the probe's rows are laid out image by image",
        file="callbacks/probe.py",
        before="else targets.repeat(views)",
        after="else targets.repeat_interleave(views)",
        tests=("tests/callbacks/test_probe.py::test_rows_that_repeat_per_view_get_the_labels_of_each_view",),
    ),
    _monitor(
        name="the probe's head is in the module, and in its optimizer",
        file="callbacks/probe.py",
        before="    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:\n",
        after="    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:\n"
        '        pl_module.add_module("probe_head", torch.nn.Linear(8, self.num_classes))\n',
        tests=(
            "tests/callbacks/test_monitors_leave_no_trace.py::test_the_host_has_no_further_parameters_hooks_or_modules",
        ),
    ),
    _monitor(
        name="the probe's top-5 is its top-4",
        file="callbacks/probe.py",
        before="logits.topk(min(5, self.num_classes), dim=2)",
        after="logits.topk(min(4, self.num_classes), dim=2)",
        tests=("tests/callbacks/test_probe.py::test_top5_is_the_first_five",),
    ),
    _monitor(
        name="the probe's learning rate is chosen on the test images",
        file="callbacks/probe.py",
        before="            chosen = self._chosen\n",
        after="            pass\n",
        tests=("tests/callbacks/test_probe.py::test_testing_takes_the_learning_rate_that_validation_has_chosen",),
    ),
    _monitor(
        name="the probe learns from images without a label",
        file="callbacks/shared/linear_heads.py",
        before="valid = has_label & ~beyond & x.isfinite().all(1)",
        after="valid = ~beyond & x.isfinite().all(1)",
        tests=("tests/callbacks/test_probe.py::test_rows_without_label_or_with_nan_have_no_part",),
    ),
    _monitor(
        name="monitors read features in training mode",
        file="training/undisturbed.py",
        before="with isolated(), eval_mode(module):",
        after="with isolated():",
        tests=(
            "tests/callbacks/test_monitors_leave_no_trace.py::test_weights_momentum_and_random_state_are_bitwise_those_without_monitors",
            "tests/callbacks/test_monitors_leave_no_trace.py",
        ),
    ),
    _monitor(
        name="monitors move the training's random numbers",
        file="training/undisturbed.py",
        before="with isolated(), eval_mode(module):",
        after="with eval_mode(module):",
        tests=(
            "tests/callbacks/test_monitors_leave_no_trace.py::test_features_that_draw_shift_nothing_that_training_draws",
        ),
    ),
    _monitor(
        name="raw pixels are compared with their mean image in them",
        file="callbacks/knn.py",
        before='mean = x.mean(0) if name == "raw_pixels" else x.new_zeros(())',
        after="mean = x.new_zeros(())",
        tests=("tests/callbacks/test_knn.py::test_baselines_are_measured_once_on_the_network_as_it_comes",),
    ),
    _monitor(
        name="collapse: the spread is compared with that of one dimension",
        file="callbacks/collapse.py",
        before="even, most = 1 / math.sqrt(z.shape[1]), min(z.shape)",
        after="even, most = 1.0, min(z.shape)",
        tests=("tests/callbacks/test_collapse.py::test_each_illness_is_told_once_with_value_meaning_and_fixes",),
    ),
    _monitor(
        name="collapse: one bad measurement is enough for a warning",
        file="callbacks/collapse.py",
        before="if self._bad[indicator] < (patience or self.patience) or",
        after="if self._bad[indicator] < 1 or",
        tests=("tests/callbacks/test_collapse.py::test_patience",),
    ),
    _monitor(
        name="collapse: bad measurements need not follow each other",
        file="callbacks/collapse.py",
        before="self._bad.get(indicator, 0) + 1 if indicator.is_bad(value) else 0",
        after="self._bad.get(indicator, 0) + indicator.is_bad(value)",
        tests=("tests/callbacks/test_collapse.py::test_bad_measurements_must_follow_each_other",),
    ),
    _monitor(
        name="whitened stem: the teacher keeps its own first filters",
        file="callbacks/whitened_stem.py",
        before="                whitenable_convolution(teacher).weight.data.copy_(convolution.weight.data)\n",
        after="                pass\n",
        tests=("tests/callbacks/test_whitened_stem.py::test_the_teacher_starts_with_the_same_filters",),
    ),
    _readout(
        name="kNN: votes are multiplied by the temperature",
        file="readouts/knn.py",
        before="((similarity - nearest) / temperature).exp()",
        after="((similarity - nearest) * temperature).exp()",
        tests=("tests/readouts/test_knn.py::test_equals_a_naive_loop",),
    ),
    _readout(
        name="kNN: features of the bank are not normalized",
        file="readouts/knn.py",
        before="queries, bank = F.normalize(queries), F.normalize(bank)",
        after="queries, bank = F.normalize(queries), bank",
        tests=("tests/readouts/test_knn.py::test_equals_a_naive_loop",),
    ),
    _readout(
        name="ridge: the intercept is left out",
        file="readouts/ridge.py",
        before="@ weight.to(mean.dtype) + prior.to(mean.dtype)",
        after="@ weight.to(mean.dtype)",
        tests=("tests/readouts/test_ridge.py::test_scores_equal_scikit_learns_ridge",),
    ),
    _readout(
        name="ridge: the penalty is chosen on rows that were fitted",
        file="readouts/ridge.py",
        before="        fitted.scatter_add_(2, own, -leverage[:, :, None])\n",
        after="",
        tests=("tests/readouts/test_ridge.py::test_penalty_is_the_one_that_leaving_rows_out_one_by_one_finds",),
    ),
    _readout(
        name="effective rank: the mean is not taken off",
        file="readouts/rank.py",
        before="variance = _spectrum(features - features.mean(0))",
        after="variance = _spectrum(features)",
        tests=("tests/readouts/test_geometry_and_rank.py::test_effective_rank_counts_directions_and_ignores_the_mean",),
    ),
    _readout(
        name="RankMe: eigenvalues instead of singular values",
        file="readouts/rank.py",
        before="singular = _spectrum(features).sqrt()",
        after="singular = _spectrum(features)",
        tests=("tests/readouts/test_geometry_and_rank.py::test_ranks_equal_the_entropy_of_singular_values",),
    ),
    _readout(
        name="uniformity: each embedding is paired with itself",
        file="readouts/geometry.py",
        before="> torch.arange(start, start + len(rows)",
        after=">= torch.arange(start, start + len(rows)",
        tests=("tests/readouts/test_geometry_and_rank.py::test_alignment_and_uniformity_equal_loops_over_pairs",),
    ),
    _readout(
        name="mutual information is divided by the arithmetic mean",
        file="readouts/clustering.py",
        before="scale = (alone * other).sqrt()",
        after="scale = (alone + other) / 2",
        tests=("tests/readouts/test_clustering.py::test_mutual_information_equals_scikit_learns_geometric_mean",),
    ),
    _protocol(
        name="kNN: each training image is its own neighbor where k is chosen",
        file="evaluation/nearest.py",
        before="metric=metric, own=self.own)",
        after="metric=metric)",
        tests=("tests/evaluation/test_nearest.py::test_k_is_chosen_by_the_neighbors_among_all_other_training_images",),
    ),
    _protocol(
        name="few labels: a fold is judged by a classifier that has seen it",
        file="evaluation/few_label.py",
        before="fits = fit_logistic(x[inside], y[inside], scaled,",
        after="fits = fit_logistic(x, y, scaled,",
        tests=("tests/evaluation/test_few_label.py::test_a_fold_is_judged_by_a_classifier_that_has_not_seen_it",),
    ),
    _protocol(
        name="few labels: labels that were to be hidden are used",
        file="evaluation/splits.py",
        before="if not isinstance(data, SSLDataModule) or not data.kept_labels:",
        after="if True:",
        tests=("tests/evaluation/test_splits.py::test_labels_per_class_are_the_same_images_on_features_and_on_crops",),
    ),
    _protocol(
        name="the validation images are the test images though there are others",
        file="evaluation/splits.py",
        before='test_split, where = ("test", "") if there else ("val", ", as there are no test images")',
        after='test_split, where = ("val", "")',
        tests=(
            "tests/evaluation/test_splits.py::test_validation_images_judge_where_somebodys_module_has_no_test_images",
        ),
    ),
    _protocol(
        name="linear probe: the frozen network goes into training mode",
        file="evaluation/probes/linear.py",
        before="        super().train(mode)\n        self.network.eval()\n",
        after="        super().train(mode)\n",
        tests=(
            "tests/evaluation/probes/test_probes.py::test_the_network_stays_in_evaluation_mode_while_the_heads_train",
        ),
    ),
    _protocol(
        name="linear probe: the learning rate is chosen on the test images",
        file="evaluation/probes/linear.py",
        before='        if stage == "val":\n',
        after="        if stage:\n",
        tests=("tests/evaluation/probes/test_probes.py::test_another_head_that_is_better_on_test_images_is_not_taken",),
    ),
    _protocol(
        name="linear probe: the learning rate does not follow the batch size",
        file="evaluation/probes/heads.py",
        before='"lr": lr * scale}',
        after='"lr": lr}',
        tests=("tests/evaluation/probes/test_probes.py::test_heads_take_the_steps_of_plain_torch",),
    ),
    _protocol(
        name="linear probe: images without a label count in the mean",
        file="evaluation/probes/heads.py",
        before="return losses / (targets >= 0).sum().clamp(min=1)",
        after="return losses / len(targets)",
        tests=("tests/evaluation/probes/test_probes.py::test_rows_without_label_have_no_part",),
    ),
    _checkpoint(
        name="teacher=True exports the student",
        file="checkpoints/backbone.py",
        before='prefix = "teacher.backbone." if teacher else "backbone."',
        after='prefix = "backbone."',
        tests=("tests/checkpoints/test_backbone.py::test_teacher_and_student_are_told_apart",),
    ),
    _checkpoint(
        name="an exported network is in training mode",
        file="checkpoints/backbone.py",
        before="        return network.eval()\n",
        after="        return network.train()\n",
        tests=("tests/checkpoints/test_backbone.py::test_the_file_rebuilds_its_network",),
    ),
    _checkpoint(
        name="what the data's normalization was is not exported",
        file="checkpoints/backbone.py",
        before='_DATA = ("image_size", "mean", "std", "in_chans", "value_range")',
        after='_DATA = ("image_size", "in_chans", "value_range")',
        tests=(
            "tests/checkpoints/test_formats.py::test_size_and_statistics_of_the_images_go_from_the_data_into_the_file",
        ),
    ),
)
