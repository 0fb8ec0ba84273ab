"""Mutants of the contrastive methods."""

from functools import partial

from tests.mutants.mutant import Mutant

_mutant = partial(Mutant, family="contrastive")

MUTANTS = (
    _mutant(
        name="NT-Xent: an embedding is among its own negatives",
        file="losses/in_chunks.py",
        before="            logits.scatter_(1, excluded[chunk, None], -torch.inf)\n",
        after="",
        tests=("tests/losses/test_contrastive.py::test_equal_embeddings_have_the_loss_of_guessing",),
    ),
    _mutant(
        name="SimCLR: the loss of chance counts the image itself among the candidates",
        file="methods/contrastive/simclr.py",
        before="math.log(2 * len(z1) * world_size() - 1)",
        after="math.log(2 * len(z1) * world_size())",
        tests=("tests/invariants/test_chance.py::test_images_that_are_all_one_have_the_loss_of_chance[SimCLR]",),
    ),
    _mutant(
        name="SimCLR: chance of the matching accuracy is that of all embeddings, not of a view's",
        file="methods/contrastive/simclr.py",
        before="matching_accuracy(z1, z2), of=len(z1)",
        after="matching_accuracy(z1, z2), of=2 * len(z1)",
        tests=(
            "tests/invariants/test_chance.py::test_the_accuracy_of_an_untrained_network_on_noise_is_that_of_chance[SimCLR]",
        ),
    ),
    _mutant(
        name="NT-Logistic: semi-hard negatives may be nearer than the positive",
        file="losses/contrastive.py",
        before="allowed = allowed & (s < positive)",
        after="allowed = allowed & (s <= 1)",
        tests=(
            "tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[nt_logistic_semihard-float64]",
        ),
    ),
    _mutant(
        name="InfoNCE: multiplied by the temperature",
        file="losses/momentum_contrast.py",
        before="negatives.detach().T], 1) / temperature",
        after="negatives.detach().T], 1) * temperature",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[moco_v1v2-float64]",),
    ),
    _mutant(
        name="MoCo: keys are not put back into the order of their queries",
        file="methods/contrastive/moco.py",
        before="shuffled[order.argsort()]",
        after="shuffled[order]",
        tests=(
            "tests/methods/contrastive/test_moco.py::test_keys_are_made_in_another_order_and_come_back_in_their_own",
        ),
    ),
    _mutant(
        name="MoCo: keys enter the queue with every batch that only accumulates",
        file="methods/contrastive/moco.py",
        before="            self.queue.stage(k)\n",
        after="            self.queue.update(k)\n",
        tests=("tests/invariants/test_invariants.py::test_teacher_and_queue_move_once_per_optimizer_step[MoCo]",),
    ),
    _mutant(
        name="MoCo: keys of the queue are not normalized",
        file="methods/contrastive/moco.py",
        before="return F.normalize(shuffled[order.argsort()].chunk(world_size())[rank()], dim=1)",
        after="return shuffled[order.argsort()].chunk(world_size())[rank()]",
        tests=("tests/methods/contrastive/test_moco.py::test_three_steps_are_those_of_the_papers_algorithm",),
    ),
    _mutant(
        name="MoCo: the momentum rises to 1 instead of staying",
        file="methods/contrastive/moco.py",
        before="EMATeacher(self.momentum, final_momentum=self.momentum)",
        after="EMATeacher(self.momentum)",
        tests=(
            "tests/methods/contrastive/test_moco.py::test_three_steps_are_those_of_the_papers_algorithm",
            "tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[moco_v2]",
        ),
    ),
    _mutant(
        name="MoCo: no weight decay on biases and norms, against its code",
        file="methods/contrastive/moco.py",
        before="    decay_vectors = True\n",
        after="",
        tests=("tests/methods/contrastive/test_moco.py::test_all_parameters_are_decayed",),
    ),
    _mutant(
        name="MoCo v3: a query is compared with the key of its own view",
        file="methods/contrastive/moco_v3.py",
        before="moco_v3_contrastive(q1, k2, self.temperature) + moco_v3_contrastive(q2, k1, self.temperature)",
        after="moco_v3_contrastive(q1, k1, self.temperature) + moco_v3_contrastive(q2, k2, self.temperature)",
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[moco_v3]",),
    ),
    _mutant(
        name="MoCo v3: the loss is not scaled by twice the temperature",
        file="losses/momentum_contrast.py",
        before="return 2 * temperature * F.cross_entropy",
        after="return F.cross_entropy",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[moco_v3-float64]",),
    ),
    _mutant(
        name="MoCo v3: the patch embedding is trained",
        file="methods/contrastive/moco_v3.py",
        before="self.backbone.patch_embed.requires_grad_(False)",
        after="self.backbone.patch_embed.requires_grad_(True)",
        tests=("tests/methods/contrastive/test_moco_v3.py::test_patch_embedding_and_positions_stay_as_they_start",),
    ),
    _mutant(
        name="Instance discrimination: the noise of one negative instead of all",
        file="losses/instance.py",
        before="noise = (entries.shape[1] - 1) / num_images",
        after="noise = 1 / num_images",
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[npid_nce]",),
    ),
    _mutant(
        name="Instance discrimination: memory and new embedding change places in the average",
        file="methods/contrastive/instance_discrimination.py",
        before="self.momentum * self.rows[indices] + (1 - self.momentum) * mean_of",
        after="(1 - self.momentum) * self.rows[indices] + self.momentum * mean_of",
        tests=(
            "tests/methods/contrastive/test_instance_discrimination.py::test_an_image_that_came_twice_moves_to_the_mean",
        ),
    ),
    _mutant(
        name="Instance discrimination: the normalizer is estimated anew in every step",
        file="methods/contrastive/instance_discrimination.py",
        before="return torch.where(self.normalizer > 0, self.normalizer, estimate), estimates",
        after="return estimate, estimates",
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[npid_nce]",),
    ),
    _mutant(
        name="CPC: what is predicted shares pixels with the context",
        file="methods/contrastive/cpc.py",
        before="math.ceil(patch_size / stride)",
        after="patch_size // stride",
        tests=(
            "tests/methods/contrastive/test_cpc.py::test_the_grid_and_the_first_row_without_overlap_are_the_papers",
        ),
    ),
    _mutant(
        name="CPC: one direction is predicted twice and one never",
        file="methods/contrastive/cpc.py",
        before="_TURNS = (0, 2, 1, 3)",
        after="_TURNS = (0, 2, 1, 1)",
        tests=(
            "tests/methods/contrastive/test_cpc.py::test_the_loss_is_the_mean_over_steps_and_directions",
            "tests/methods/contrastive/test_cpc.py::test_every_step_and_direction_has_a_head_of_its_own",
        ),
    ),
    _mutant(
        name="CPC: the context sees the row below",
        file="methods/contrastive/cpc.py",
        before="nn.ZeroPad2d((0, 0, 1, 0))",
        after="nn.ZeroPad2d((0, 0, 0, 1))",
        tests=("tests/methods/contrastive/test_cpc.py::test_a_context_sees_its_own_row_and_those_above_alone",),
    ),
    _mutant(
        name="AMDIM: an image's own locations are among the negatives",
        file="losses/amdim.py",
        before="scores.scatter(1, itself, -torch.inf).flatten(1)",
        after="scores.flatten(1)",
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[amdim]",),
    ),
    _mutant(
        name="AMDIM: both scales take their location from the first map",
        file="methods/contrastive/amdim.py",
        before="[features.gather(1, where).squeeze(1) for features, where in zip(maps, places)]",
        after="[maps[0].gather(1, where).squeeze(1) for where in places]",
        tests=("tests/trajectories/test_trajectories.py::test_training_ends_where_the_official_code_ends[amdim]",),
    ),
)
