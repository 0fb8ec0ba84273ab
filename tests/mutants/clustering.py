"""Mutants of the methods that cluster."""

from functools import partial

from tests.mutants.mutant import Mutant

_mutant = partial(Mutant, family="clustering")

MUTANTS = (
    _mutant(
        name="Sinkhorn: one iteration less",
        file="losses/clustering.py",
        before="for _ in range(iterations):",
        after="for _ in range(iterations - 1):",
        tests=("tests/losses/test_clustering.py::test_codes_equal_the_loops",),
    ),
    _mutant(
        name="Sinkhorn: prototypes are shared out among one rank's images",
        file="losses/clustering.py",
        before="(all_sum(codes.sum(0)) * codes.shape[1])",
        after="(codes.sum(0) * codes.shape[1])",
        tests=(
            "tests/losses/test_clustering.py::test_ranks_with_different_numbers_of_rows_have_the_codes_of_one_process",
        ),
    ),
    _mutant(
        name="SwAV: a view predicts its own codes",
        file="losses/clustering.py",
        before="        if other != view\n",
        after="",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[swav_multicrop-float64]",),
    ),
    _mutant(
        name="SwAV: prototypes are not normalized after a step",
        file="methods/clustering/swav.py",
        before="        if not frozen:  #",
        after="        if frozen:  #",
        tests=(
            "tests/methods/clustering/test_swav.py::test_prototypes_stand_still_at_first_decay_included_and_have_length_one",
        ),
    ),
    _mutant(
        name="SwAV: prototypes are frozen one step too long",
        file="methods/clustering/swav.py",
        before="return self.steps_done < self.freeze_prototypes_steps",
        after="return self.steps_done <= self.freeze_prototypes_steps",
        tests=(
            "tests/methods/clustering/test_swav.py::test_prototypes_stand_still_at_first_decay_included_and_have_length_one",
        ),
    ),
    _mutant(
        name="SwAV: both views take the first one's queue",
        file="methods/clustering/swav.py",
        before="return self.rows[:, number * self.dim : (number + 1) * self.dim]",
        after="return self.rows[:, : self.dim]",
        tests=(
            "tests/methods/clustering/test_swav.py::test_a_full_queue_joins_the_codes_of_its_view_and_a_filling_one_does_not",
        ),
    ),
    _mutant(
        name="SwAV: the queue is used one batch late",
        file="methods/clustering/swav.py",
        before="        self.is_full = self._pushed >= len(self.rows)\n\n\n@torch",
        after="        self.is_full = self._pushed > len(self.rows)\n\n\n@torch",
        tests=(
            "tests/methods/clustering/test_swav.py::test_a_full_queue_joins_the_codes_of_its_view_and_a_filling_one_does_not",
        ),
    ),
    _mutant(
        name="SwAV: in a run that is resumed the queue is used one batch late",
        file="methods/clustering/swav.py",
        before="        self.is_full = self._pushed >= len(self.rows)\n\n    def view",
        after="        self.is_full = self._pushed > len(self.rows)\n\n    def view",
        tests=(
            "tests/methods/clustering/test_swav.py::test_the_queue_waits_for_its_epoch_and_knows_after_loading_whether_it_is_full",
        ),
    ),
    _mutant(
        name="SwAV: codes are those of the queue instead of the batch",
        file="methods/clustering/swav.py",
        before="[-images:]",
        after="[:images]",
        tests=(
            "tests/methods/clustering/test_swav.py::test_a_full_queue_joins_the_codes_of_its_view_and_a_filling_one_does_not",
        ),
    ),
    _mutant(
        name="DeepCluster: the new classifier goes on with the old one's momentum",
        file="methods/clustering/deepcluster.py",
        before="                optimizer.state.pop(parameter, None)\n",
        after="                pass\n",
        tests=(
            "tests/methods/clustering/test_deepcluster.py::test_an_optimizer_forgets_what_it_knew_of_the_old_classifier",
        ),
    ),
    _mutant(
        name="DeepCluster: images of large clusters are drawn as often as they are",
        file="methods/clustering/deepcluster.py",
        before="self._drawn_evenly = ask is not None and bool(ask(self.pseudo_labels.labels))",
        after="self._drawn_evenly = ask is not None",
        tests=(
            "tests/methods/clustering/test_deepcluster.py::test_batches_in_one_order_are_weighed_instead",
            "tests/methods/clustering/test_deepcluster.py::test_a_datamodule_draws_images_uniformly_over_clusters",
        ),
    ),
    _mutant(
        name="DeepCluster: features are not normalized before k-means",
        file="methods/clustering/deepcluster.py",
        before="            F.normalize(mine, dim=1),\n",
        after="            mine,\n",
        tests=(
            "tests/methods/clustering/test_deepcluster.py::test_directions_of_features_are_clustered_and_not_their_lengths",
        ),
    ),
    _mutant(
        name="DeepCluster v2: targets of small crops are laid out image by image",
        file="losses/clustering.py",
        before="t.repeat(len(s) // len(t))",
        after="t.repeat_interleave(len(s) // len(t))",
        tests=("tests/losses/test_clustering.py::test_every_crop_has_the_cluster_of_its_image_and_heads_are_averaged",),
    ),
    _mutant(
        name="DeepCluster v2: all heads cluster the first crop's embeddings",
        file="methods/clustering/deepcluster_v2.py",
        before="self.rows[head % len(self.rows), known]",
        after="self.rows[0, known]",
        tests=("tests/methods/clustering/test_deepcluster_v2.py::test_heads_take_the_banks_in_turn",),
    ),
    _mutant(
        name="DeepCluster v2: images of epochs ago keep their clusters",
        file="methods/clustering/deepcluster_v2.py",
        before="        self.seen.fill_(False)\n        self.epoch",
        after="        self.epoch",
        tests=(
            "tests/methods/clustering/test_deepcluster_v2.py::test_images_that_the_epoch_before_left_out_have_no_cluster",
        ),
    ),
    _mutant(
        name="the agreement with the last epoch is lost when a run is resumed",
        file="methods/clustering/cluster_statistics.py",
        before="return {_AGREEMENT: known[_AGREEMENT]} if _AGREEMENT in known else {}",
        after="return {}",
        tests=(
            "tests/methods/clustering/test_cluster_statistics.py::test_a_run_that_is_resumed_within_an_epoch_says_it_too",
        ),
    ),
    _mutant(
        name="k-means: spherical centroids are not brought back to length 1",
        file="readouts/kmeans.py",
        before="_assign(features, _unit(centroids, spherical), spherical)\n            means",
        after="_assign(features, centroids, spherical)\n            means",
        tests=("tests/readouts/test_kmeans.py::test_spherical_kmeans_equals_the_loop",),
    ),
)
