"""Mutants of the masked autoencoders."""

from functools import partial

from tests.mutants.mutant import Mutant

_mutant = partial(Mutant, family="masked")

MUTANTS = (
    _mutant(
        name="MAE: all images of a batch have one mask",
        file="methods/masked/mae.py",
        before="noise = uniform(len(images), self.num_patches, "
        "generator=self.generator(batch_idx, device=images.device))",
        after="noise = uniform(1, self.num_patches, generator=self.generator(batch_idx, device=images.device))"
        ".expand(len(images), -1)",
        tests=(
            "tests/invariants/test_invariants.py::test_two_processes_equal_one_process_on_the_concatenated_batch[MAE]",
        ),
    ),
    _mutant(
        name="MAE: the mask ratio is that of what is seen",
        file="methods/masked/masks.py",
        before="seen=int(noise.shape[1] * (1 - ratio))",
        after="seen=int(noise.shape[1] * ratio)",
        tests=("tests/methods/masked/test_mae.py::test_mae_sees_the_official_number_of_patches",),
    ),
    _mutant(
        name="MAE: predictions are put back by the order of the noise",
        file="methods/masked/masks.py",
        before="restore = order.argsort(1)",
        after="restore = order",
        tests=("tests/methods/masked/test_mae.py::test_mae_sees_the_official_number_of_patches",),
    ),
    _mutant(
        name="MAE: seen patches count in the loss",
        file="losses/reconstruction.py",
        before="    weights = mask.to(predictions.dtype)\n",
        after="    weights = torch.ones_like(mask, dtype=predictions.dtype)\n",
        tests=("tests/methods/masked/test_mae.py::test_what_is_seen_has_no_part_in_the_loss",),
    ),
    _mutant(
        name="MAE: patches are normalized by the variance of a population",
        file="losses/reconstruction.py",
        before="(targets.var(2, keepdim=True) + eps)",
        after="(targets.var(2, keepdim=True, correction=0) + eps)",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[mae_normpix-float64]",),
    ),
    _mutant(
        name="MAE: values of a patch are channel by channel",
        file="losses/reconstruction.py",
        before="cut.permute(0, 2, 4, 3, 5, 1)",
        after="cut.permute(0, 2, 4, 1, 3, 5)",
        tests=(
            "tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[mae_pixel-float64]",
            "tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[mae_patch4_pixel-float64]",
        ),
    ),
    _mutant(
        name="MAE: fixed positions are trained",
        file="methods/masked/mae.py",
        before="    vit.pos_embed.requires_grad_(False)\n",
        after="",
        tests=("tests/methods/masked/test_mae.py::test_mae_has_the_official_number_of_parameters",),
    ),
    _mutant(
        name="MAE: the decoder's positions are not added",
        file="networks/vit.py",
        before="tokens = torch.cat([prefix, patches], 1) + self.positions",
        after="tokens = torch.cat([prefix, patches], 1)",
        tests=(
            "tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[mae_trajectory-float64]",
            "tests/methods/masked/test_mae.py",
        ),
    ),
    _mutant(
        name="SimMIM: seen patches are replaced by the mask token",
        file="networks/vit.py",
        before="torch.where(masked, token.to(embeddings.dtype), embeddings)",
        after="torch.where(masked, embeddings, token.to(embeddings.dtype))",
        tests=("tests/methods/masked/test_simmim.py::test_hidden_cells_do_not_reach_the_encoder_and_seen_ones_do",),
    ),
    _mutant(
        name="SimMIM: the number of hidden cells is rounded down",
        file="methods/masked/masks.py",
        before="math.ceil(ratio * cells)",
        after="math.floor(ratio * cells)",
        tests=("tests/methods/masked/test_simmim.py::test_the_official_number_of_cells_is_hidden_in_every_image",),
    ),
    _mutant(
        name="SimMIM: the sum over channels instead of their mean",
        file="losses/reconstruction.py",
        before="return errors.sum() / (weights.sum() + eps) / images.shape[1]",
        after="return errors.sum() / (weights.sum() + eps)",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[simmim_loss-float64]",),
    ),
)
