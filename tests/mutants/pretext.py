"""Mutants of the pretext tasks."""

from functools import partial

from tests.mutants.mutant import Mutant

_mutant = partial(Mutant, family="pretext")

MUTANTS = (
    _mutant(
        name="RotNet: images are turned clockwise",
        file="transforms/rotations.py",
        before="torch.rot90(images, quarters, (-2, -1))",
        after="torch.rot90(images, -quarters, (-2, -1))",
        tests=("tests/transforms/test_rotations.py::test_every_row_is_the_image_turned_pixel_by_pixel",),
    ),
    _mutant(
        name="RotNet: labels are laid out image by image",
        file="transforms/rotations.py",
        before="labels.repeat(count) if image_major else labels.repeat_interleave(count)",
        after="labels.repeat(count)",
        tests=("tests/transforms/test_rotations.py::test_every_row_is_the_image_turned_pixel_by_pixel",),
    ),
    _mutant(
        name="RotNet: chance is one in two",
        file="methods/pretext/rotnet.py",
        before="of=len(ANGLES)",
        after="of=2",
        tests=(
            "tests/invariants/test_chance.py::test_the_accuracy_of_an_untrained_network_on_noise_is_that_of_chance[RotNet]",
        ),
    ),
    _mutant(
        name="RotNet: the learning rate drops by 0.1 instead of 0.2",
        file="methods/pretext/rotnet.py",
        before="        self.milestone_factor = milestone_factor\n",
        after="",
        tests=("tests/methods/pretext/test_rotnet.py::test_the_learning_rate_falls_to_a_fifth_at_each_milestone",),
    ),
    _mutant(
        name="Jigsaw: the set of permutations is not saved",
        file="methods/pretext/jigsaw.py",
        before='self.register_buffer("permutations", permutation_set(grid**2, num_permutations))',
        after='self.register_buffer("permutations", permutation_set(grid**2, num_permutations), persistent=False)',
        tests=("tests/methods/pretext/test_jigsaw.py::test_the_set_stands_in_the_checkpoint",),
    ),
    _mutant(
        name="Jigsaw: permutations are far from the last one only",
        file="methods/pretext/permutations.py",
        before="agreements += same",
        after="agreements[agreements < 10**9] = same[agreements < 10**9]",
        tests=(
            "tests/methods/pretext/test_jigsaw.py::test_every_permutation_is_one_of_the_farthest_from_those_before",
        ),
    ),
    _mutant(
        name="Jigsaw: all images of a batch have one permutation",
        file="methods/pretext/jigsaw.py",
        before="labels = integers(self.puzzles, len(images), "
        "below=len(self.permutations), generator=drawn, images=1)  #",
        after="labels = integers(self.puzzles, 1, below=len(self.permutations), generator=drawn)"
        ".expand(-1, len(images))  #",
        tests=(
            "tests/invariants/test_invariants.py::test_two_processes_equal_one_process_on_the_concatenated_batch[Jigsaw]",
        ),
    ),
    _mutant(
        name="Jigsaw: tiles that follow each other leave no gap",
        file="methods/pretext/tile_draws.py",
        before="below=grid.jitter + 1",
        after="below=1",
        tests=(
            "tests/methods/pretext/test_relative_position.py::test_the_grid_and_every_patch_are_moved_as_far_as_there_is_room",
        ),
    ),
    _mutant(
        name="Jigsaw: biases learn at the weights' rate",
        file="methods/base.py",
        before='                group["lr_scale"] = self.bias_lr_scale\n',
        after="                pass\n",
        tests=("tests/methods/pretext/test_jigsaw.py::test_biases_learn_twice_as_fast_and_are_not_decayed",),
    ),
    _mutant(
        name="relative position: chance is one in eight, though some answers are commoner",
        file="methods/pretext/relative_position.py",
        before="of=1 / self.chance",
        after="of=8",
        tests=("tests/invariants/test_chance.py::test_the_commonest_answer_is_the_chance_of_relative_positions",),
    ),
    _mutant(
        name="relative position: labels are laid out image by image",
        file="methods/pretext/relative_position.py",
        before="labels.repeat_interleave(len(images))",
        after="labels.repeat(len(images))",
        tests=(
            "tests/invariants/test_invariants.py::test_two_processes_equal_one_process_on_the_concatenated_batch[RelativePosition]",
        ),
    ),
    _mutant(
        name="relative position: all patches of an image keep one channel",
        file="methods/pretext/relative_position.py",
        before="keep = integers(self.grid.tiles, count, below=channels, generator=generator, images=1)",
        after="keep = integers(1, count, below=channels, generator=generator, images=1).expand(self.grid.tiles, -1)",
        tests=(
            "tests/methods/pretext/test_relative_position.py::test_the_channel_that_is_kept_is_drawn_for_every_patch",
        ),
    ),
    _mutant(
        name="colorization: rare colors weigh less instead of more",
        file="losses/colorization.py",
        before="weights = there / torch.where(prior > 0, mixed, 1)",
        after="weights = there * torch.where(prior > 0, mixed, 1)",
        tests=("tests/losses/test_colorization.py::test_weights_are_those_of_the_formula_and_average_to_one",),
    ),
    _mutant(
        name="colorization: how often colors occur is forgotten with every step",
        file="methods/pretext/color_prior.py",
        before="self.prior.lerp_(codes / number, share)",
        after="self.prior.copy_(codes / number)",
        tests=("tests/methods/pretext/test_colorization.py::test_the_prior_is_the_mean_code_of_all_pixels_so_far",),
    ),
    _mutant(
        name="colorization: gray images count",
        file="methods/pretext/colorization.py",
        before="        weights = weights * colored.expand(-1, ab[0, 0].numel()).flatten()\n",
        after="",
        tests=("tests/methods/pretext/test_colorization.py::test_gray_images_weigh_nothing",),
    ),
    _mutant(
        name="context encoder: the discriminator learns ten times faster instead of the encoder",
        file="methods/pretext/context_encoder.py",
        before='return [*({**group, "lr_scale": 10.0} for group in groups), *others]',
        after='return [*groups, *({**group, "lr_scale": 10.0} for group in others)]',
        tests=(
            "tests/methods/pretext/test_context_encoder.py::test_encoder_and_decoder_learn_at_ten_times_the_rate_beside_a_discriminator_alone",
        ),
    ),
    _mutant(
        name="context encoder: the discriminator's loss reaches the generator",
        file="methods/pretext/context_encoder.py",
        before="self.discriminator(predictions.detach())",
        after="self.discriminator(predictions)",
        tests=("tests/methods/pretext/test_context_encoder.py::test_one_optimizer_does_what_two_do",),
    ),
    _mutant(
        name="BiGAN: the discriminator's loss reaches the encoder",
        file="methods/pretext/bigan.py",
        before="self.discriminator(x, codes.detach())",
        after="self.discriminator(x, codes)",
        tests=("tests/methods/pretext/test_bigan.py::test_one_optimizer_does_what_two_do",),
    ),
    _mutant(
        name="BiGAN: the decay of the learning rate begins one epoch late",
        file="optim/schedules.py",
        before="final ** ((epoch - hold + 1) / length)",
        after="final ** ((epoch - hold) / length)",
        tests=(
            "tests/methods/pretext/test_bigan.py::test_the_learning_rate_is_constant_and_then_falls_from_epoch_to_epoch",
        ),
    ),
    _mutant(
        name="Exemplar: labels of the views are laid out image by image",
        file="methods/pretext/exemplar.py",
        before="images = batch.indices.repeat(len(views))",
        after="images = batch.indices.repeat_interleave(len(views))",
        tests=(
            "tests/invariants/test_invariants.py::test_two_processes_equal_one_process_on_the_concatenated_batch[Exemplar]",
        ),
    ),
    _mutant(
        name="Exemplar: some views of an image are gray, others not",
        file="methods/pretext/exemplar.py",
        before="gray.repeat(count)",
        after="gray.repeat_interleave(count)",
        tests=("tests/methods/pretext/test_exemplar.py::test_views_of_an_image_are_all_gray_or_none",),
    ),
    _mutant(
        name="Counting: images are compared with others of their rank only",
        file="methods/pretext/counting.py",
        before="phi_dy = gather(phi_dx).roll(1, 0)[first : first + len(images)]",
        after="phi_dy = phi_dx.roll(1, 0)",
        tests=(
            "tests/invariants/test_invariants.py::test_two_processes_equal_one_process_on_the_concatenated_batch[Counting]",
        ),
    ),
    _mutant(
        name="Counting: all tiles of an image have one color shift",
        file="methods/pretext/counting.py",
        before="shifts = uniform(len(images), 5, images.shape[1], generator=generator) * 2 - 1  #",
        after="shifts = uniform(len(images), 1, images.shape[1], generator=generator).expand(-1, 5, -1) * 2 - 1  #",
        tests=("tests/methods/pretext/test_counting.py::test_the_patches_of_an_image_are_shifted_on_their_own",),
    ),
    _mutant(
        name="split-brain: each half predicts what it sees",
        file="methods/pretext/split_brain.py",
        before="return self.color_head(of_lightness), self.lightness_head(of_color)",
        after="return self.color_head(of_color), self.lightness_head(of_lightness)",
        tests=("tests/methods/pretext/test_split_brain.py::test_neither_network_has_a_gradient_of_what_it_predicts",),
    ),
    _mutant(
        name="denoising: corrupted and intact entries change their weights",
        file="methods/pretext/denoising_autoencoder.py",
        before="weights = where * self.corrupted_weight + ~where * self.intact_weight",
        after="weights = ~where * self.corrupted_weight + where * self.intact_weight",
        tests=("tests/methods/pretext/test_denoising_autoencoder.py::test_emphasis_of_the_method_is_that_of_the_loss",),
    ),
    _mutant(
        name="features come from the end of the network, whatever feature_layer says",
        file="methods/pretext/base.py",
        before="        if self.feature_layer is None:\n            features",
        after="        if True:\n            features",
        tests=("tests/methods/pretext/test_counting.py::test_features_are_those_of_the_layer_that_is_named",),
    ),
    _mutant(
        name="multi-task: the tasks' weights have no effect",
        file="methods/pretext/multi_task.py",
        before="loss = loss + self.weights[name] * task.training_step(seen, batch_idx)",
        after="loss = loss + task.training_step(seen, batch_idx)",
        tests=(
            "tests/methods/pretext/test_multi_task.py::test_the_loss_is_the_weighted_sum_of_what_each_task_has_alone",
        ),
    ),
    _mutant(
        name="multi-task: the shared network is in every task's group",
        file="methods/pretext/multi_task.py",
        before='own = [parameter for parameter in group["params"] if parameter not in shared]',
        after='own = list(group["params"])',
        tests=("tests/methods/pretext/test_multi_task.py::test_every_parameter_is_in_one_group_and_heads_keep_theirs",),
    ),
)
