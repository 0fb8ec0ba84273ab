"""Mutants of the methods with a teacher."""

from functools import partial

from tests.mutants.mutant import Mutant

_mutant = partial(Mutant, family="teacher-student")

MUTANTS = (
    _mutant(
        name="the teacher moves with every batch that only accumulates",
        file="callbacks/ema.py",
        before="        if not self._clock.tick(trainer):\n            return\n",
        after="        self._clock.tick(trainer)\n",
        tests=("tests/invariants/test_invariants.py::test_teacher_and_queue_move_once_per_optimizer_step[BYOL]",),
    ),
    _mutant(
        name="the momentum is that of one step later",
        file="callbacks/ema.py",
        before="        momentum = self.momentum_at(step=done, total=total)\n",
        after="        momentum = self.momentum_at(step=done + 1, total=total)\n",
        tests=("tests/callbacks/test_ema.py::test_teacher_is_the_naive_average_of_the_students_after_each_step",),
    ),
    _mutant(
        name="the momentum stays at its start",
        file="callbacks/ema.py",
        before="start=self.momentum, end=self.final_momentum)",
        after="start=self.momentum, end=self.momentum)",
        tests=("tests/callbacks/test_ema.py::test_teacher_is_the_naive_average_of_the_students_after_each_step",),
    ),
    _mutant(
        name="buffers of batch norm are averaged into the teacher's own",
        file="callbacks/ema.py",
        before="            self._student += student.parameters()\n            self._teacher += teacher.parameters()\n",
        after="            self._student += "
        "[t for t in student.state_dict(keep_vars=True).values() if t.is_floating_point()]\n"
        "            self._teacher += "
        "[t for t in teacher.state_dict(keep_vars=True).values() if t.is_floating_point()]\n",
        tests=("tests/callbacks/test_ema.py::test_buffers_stay_the_teachers_own",),
    ),
    _mutant(
        name="the teacher's projector is not averaged",
        file="networks/teacher.py",
        before="for name, kept in self.named_children() if hasattr(student, name)]",
        after='for name, kept in self.named_children() if hasattr(student, name) and name != "projector"]',
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[byol]",),
    ),
    _mutant(
        name="the teacher normalizes by running statistics",
        file="networks/teacher.py",
        before="        self.requires_grad_(False)\n",
        after="        self.requires_grad_(False)\n"
        "        self.train = lambda mode=True: self\n        super().train(False)\n",
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[byol]",),
    ),
    _mutant(
        name="the teacher gets a gradient",
        file="networks/teacher.py",
        before="        self.requires_grad_(False)\n",
        after="",
        tests=("tests/methods/test_base.py::test_biases_are_not_decayed_and_a_teacher_is_not_optimized",),
    ),
    _mutant(
        name="BYOL: a view predicts its own target",
        file="methods/teacher_student/byol.py",
        before="byol_regression(p1, t2) + byol_regression(p2, t1)",
        after="byol_regression(p1, t1) + byol_regression(p2, t2)",
        tests=(
            "tests/methods/teacher_student/test_byol.py::test_the_loss_is_the_sum_of_both_directions_with_the_teacher_on_the_other_view",
        ),
    ),
    _mutant(
        name="BYOL: the mean of both directions instead of the sum",
        file="methods/teacher_student/byol.py",
        before="loss = byol_regression(p1, t2) + byol_regression(p2, t1)",
        after="loss = (byol_regression(p1, t2) + byol_regression(p2, t1)) / 2",
        tests=(
            "tests/methods/teacher_student/test_byol.py::test_the_loss_is_the_sum_of_both_directions_with_the_teacher_on_the_other_view",
        ),
    ),
    _mutant(
        name="BYOL: both views in one call, which shares their batch statistics",
        file="methods/teacher_student/byol.py",
        before="z1, z2 = self.projector(self.backbone(x1)), self.projector(self.backbone(x2))  #",
        after="z1, z2 = self.projector(self.backbone(torch.cat([x1, x2]))).chunk(2)  #",
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[byol]",),
    ),
    _mutant(
        name="SimSiam: the stop-gradient is forgotten",
        file="losses/regression.py",
        before="F.cosine_similarity(p, z.detach(), dim=1)",
        after="F.cosine_similarity(p, z, dim=1)",
        tests=("tests/losses/test_regression.py::test_no_gradient_reaches_the_target",),
    ),
    _mutant(
        name="SimSiam: the predictor's learning rate follows the cosine",
        file="methods/teacher_student/simsiam.py",
        before='"fixed_lr": self.fix_predictor_lr}',
        after='"fixed_lr": False}',
        tests=(
            "tests/methods/teacher_student/test_simsiam.py::test_the_predictors_learning_rate_is_constant_and_the_others_falls_from_the_first_step",
        ),
    ),
    _mutant(
        name="DINO: the center is updated twice",
        file="methods/teacher_student/dino.py",
        before="        self.center.stage(teacher.mean((0, 1), dtype=self.center.value.dtype)[None])\n",
        after="        self.center.stage(teacher.mean((0, 1), dtype=self.center.value.dtype)[None])\n"
        "        self.center.update(teacher.mean((0, 1), dtype=self.center.value.dtype)[None])\n",
        tests=("tests/invariants/test_invariants.py::test_teacher_and_queue_move_once_per_optimizer_step[DINO]",),
    ),
    _mutant(
        name="DINO: the center is of one rank's images",
        file="methods/teacher_student/dino.py",
        before="mean = all_sum(means.mean(0)) / world_size()",
        after="mean = means.mean(0)",
        tests=(
            "tests/invariants/test_invariants.py::test_two_processes_equal_one_process_on_the_concatenated_batch[DINO]",
        ),
    ),
    _mutant(
        name="DINO: the center is added",
        file="losses/dino.py",
        before="(teacher.detach() - center)",
        after="(teacher.detach() + center)",
        tests=("tests/losses/test_dino.py::test_it_equals_the_loop_over_pairs_of_views",),
    ),
    _mutant(
        name="DINO: the last layer is not frozen",
        file="methods/teacher_student/dino.py",
        before="if self.epochs_done < self.freeze_last_layer_epochs:",
        after="if False:",
        tests=(
            "tests/methods/teacher_student/test_dino.py::test_the_students_last_layer_stands_still_in_the_first_epochs_only",
        ),
    ),
    _mutant(
        name="DINO: the last layer is frozen one epoch too long",
        file="methods/teacher_student/dino.py",
        before="if self.epochs_done < self.freeze_last_layer_epochs:",
        after="if self.epochs_done <= self.freeze_last_layer_epochs:",
        tests=(
            "tests/methods/teacher_student/test_dino.py::test_the_students_last_layer_stands_still_in_the_first_epochs_only",
        ),
    ),
    _mutant(
        name="DINO: the teacher has stochastic depth",
        file="methods/teacher_student/dino.py",
        before='if hasattr(module, "drop_prob"):',
        after='if hasattr(module, "no_such_name"):',
        tests=(
            "tests/methods/teacher_student/test_dino.py::test_a_vision_transformer_takes_crops_of_two_sizes_and_only_the_student_drops_paths",
        ),
    ),
    _mutant(
        name="DINO: a student's view is compared with the teacher's of the same view",
        file="losses/dino.py",
        before="return (same_view - all_pairs) / (seen * (views - 1))",
        after="return -all_pairs / (seen * views)",
        tests=("tests/losses/test_dino.py::test_it_equals_the_loop_over_pairs_of_views",),
    ),
    _mutant(
        name="DINO: the temperature reaches its end one epoch late",
        file="callbacks/schedules.py",
        before="epoch / max(self.epochs - 1, 1)",
        after="epoch / self.epochs",
        tests=(
            "tests/callbacks/test_schedules.py::test_a_teachers_temperature_rises_per_epoch_also_in_a_run_that_goes_on_in_the_middle_of_one",
        ),
    ),
    _mutant(
        name="DINO: weight decay rises on biases and norms, too",
        file="callbacks/schedules.py",
        before="                if start > 0:\n",
        after="                if start >= 0:\n",
        tests=(
            "tests/callbacks/test_schedules.py::test_decay_follows_the_cosine_per_step_and_undecayed_groups_stay_so",
        ),
    ),
    _mutant(
        name="DINO: gradients below the limit are blown up to it",
        file="optim/clipping.py",
        before=".clamp(max=1.0)",
        after="",
        tests=("tests/optim/test_clipping.py::test_long_gradients_are_shortened_and_short_ones_are_left_alone",),
    ),
    _mutant(
        name="DINO: embeddings are not normalized before the prototypes",
        file="networks/heads.py",
        before="self.last_layer(F.normalize(self.mlp(x), dim=1))",
        after="self.last_layer(self.mlp(x))",
        tests=(
            "tests/golden/test_heads_teacher_student.py::test_dinos_head",
            "tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[dino_sgd]",
        ),
    ),
    _mutant(
        name="Mean Teacher: the first steps' momentum is that of a step earlier",
        file="methods/teacher_student/mean_teacher.py",
        before="1 - 1 / (step + 2)",
        after="1 - 1 / (step + 1)",
        tests=(
            "tests/methods/teacher_student/test_mean_teacher.py::test_the_teacher_is_slower_after_the_rise",
            "tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[mean_teacher_mse]",
        ),
    ),
    _mutant(
        name="Mean Teacher: teacher and student see the same view",
        file="methods/teacher_student/mean_teacher.py",
        before="self.teacher(x2)  #",
        after="self.teacher(x1)  #",
        tests=(
            "tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[mean_teacher_mse]",
        ),
    ),
    _mutant(
        name="Distillation: the frozen teacher goes into training mode",
        file="methods/teacher_student/frozen.py",
        before='    def train(self, mode: bool = True) -> "FrozenTeacher":\n',
        after='    def no_train(self, mode: bool = True) -> "FrozenTeacher":\n',
        tests=(
            "tests/invariants/test_frozen_parts.py::test_train_leaves_frozen_networks_in_evaluation_mode[Distillation]",
        ),
    ),
    _mutant(
        name="OBoW: words come from the border of the map, too",
        file="methods/teacher_student/visual_words.py",
        before="return maps[:, :, 1:-1, 1:-1]",
        after="return maps",
        tests=(
            "tests/methods/teacher_student/test_obow.py::test_one_teacher_feature_per_image_enters_each_queue_after_the_step",
        ),
    ),
    _mutant(
        name="OBoW: the mean distance forgets what it was",
        file="methods/teacher_student/obow.py",
        before="return self.momentum * self.mean_distance + (1 - self.momentum) * nearest",
        after="return (1 - self.momentum) * self.mean_distance + self.momentum * nearest",
        tests=("tests/methods/teacher_student/test_obow.py::test_mean_distance_is_updated_before_use_and_words_after",),
    ),
    _mutant(
        name="BoWNet: mixed images keep their own bag",
        file="transforms/cutmix.py",
        before="return mixed, (1 - part) * targets + part * targets[neighbor]",
        after="return mixed, targets",
        tests=("tests/transforms/test_cutmix.py::test_pixels_and_targets_are_mixed_in_equal_parts",),
    ),
    _mutant(
        name="BoWNet: visual words are made anew when a run is resumed",
        file="methods/teacher_student/bownet.py",
        before="        self.words.made.fill_(True)\n",
        after="",
        tests=("tests/methods/teacher_student/test_bownet.py::test_words_are_made_once_and_come_with_the_checkpoint",),
    ),
)
