"""Mutants of the methods on videos and texts."""

from functools import partial

from tests.mutants.mutant import Mutant

_video = partial(Mutant, family="video")
_text = partial(Mutant, family="text")

MUTANTS = (
    _video(
        name="time contrastive: frames at the edge of the positive radius are negatives' neighbors",
        file="losses/time_contrast.py",
        before="apart <= positive_radius",
        after="apart < positive_radius",
        tests=("tests/losses/test_time_contrast.py::test_time_contrastive_is_a_loop_over_pairs",),
    ),
    _video(
        name="time contrastive: a frame is its own positive",
        file="losses/metric_learning.py",
        before="positive.scatter(1, own_rows(z)[:, None], False)",
        after="positive",
        tests=("tests/losses/test_time_contrast.py::test_time_contrastive_is_a_loop_over_pairs",),
    ),
    _video(
        name="pair triplets: the own positive is among the negatives",
        file="losses/time_contrast.py",
        before="torch.arange(2 * pairs, device=anchor.device) % pairs == own_rows(anchor)[:, None]",
        after="torch.arange(2 * pairs, device=anchor.device) == own_rows(anchor)[:, None]",
        tests=("tests/losses/test_time_contrast.py::test_triplets_of_pairs_are_a_loop_over_hard_or_random_negatives",),
    ),
    _video(
        name="pair triplets: hard negatives come one epoch late",
        file="methods/video/time_contrastive.py",
        before="if self.epochs_done < self.hard_from_epoch:",
        after="if self.epochs_done <= self.hard_from_epoch:",
        tests=("tests/methods/video/test_time_contrastive.py::test_negatives_are_random_at_first_and_hard_later",),
    ),
    _video(
        name="n-pairs: the regularization is not a quarter",
        file="losses/time_contrast.py",
        before="regularization / 4 *",
        after="regularization *",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[tcn_npairs-float64]",),
    ),
    _video(
        name="windows of frames never reach a video's last frame",
        file="data/frame_sampler.py",
        before="(self._lengths[clip] - length + 1)",
        after="(self._lengths[clip] - length)",
        tests=("tests/data/test_frame_sampler.py::test_every_start_of_every_view_occurs_and_the_last_frame_too",),
    ),
    _video(
        name="both views of a pair are of one camera",
        file="data/frame_sampler.py",
        before="other = (view + 1 + torch.randint(views - 1, (rows,), generator=drawn)) % views",
        after="other = (view + torch.randint(views - 1, (rows,), generator=drawn)) % views",
        tests=(
            "tests/data/test_frame_sampler.py::test_pairs_of_views_are_of_one_moment_and_two_views_at_different_times",
        ),
    ),
    _text(
        name="word2vec: frequent words are thinned by the paper's formula instead of the program's",
        file="methods/text/sampling.py",
        before='(ratio if form == "program" else 0)',
        after='(ratio if form == "paper" else 0)',
        tests=(
            "tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[word2vec_subsampling-float64]",
            "tests/methods/text/test_word2vec.py",
        ),
    ),
    _text(
        name="word2vec: negatives are drawn as often as they occur",
        file="methods/text/word2vec.py",
        before="noise = noise_distribution(counts, self.noise_power)",
        after="noise = noise_distribution(counts, 1.0)",
        tests=(
            "tests/methods/text/test_word2vec.py::test_the_negatives_of_a_step_follow_the_counts_to_the_power_of_three_quarters",
        ),
    ),
    _text(
        name="word2vec: the word itself counts as a negative",
        file="losses/text.py",
        before="negatives != target], dim=1)",
        after="torch.ones_like(negatives, dtype=torch.bool)], dim=1)",
        tests=(
            "tests/methods/text/test_word2vec.py::test_a_negative_that_is_the_target_and_a_group_without_context_do_not_count",
        ),
    ),
    _text(
        name="word2vec: windows reach over the ends of sentences",
        file="methods/text/sampling.py",
        before="together = (sentences[:, places] == sentences[..., None]) & (words[..., None] > 0)",
        after="together = (words[:, places] > 0) & (words[..., None] > 0)",
        tests=("tests/methods/text/test_word2vec.py",),
    ),
    _text(
        name="word2vec: windows are one word too narrow",
        file="methods/text/sampling.py",
        before="(steps.abs() <= radius[..., None])",
        after="(steps.abs() < radius[..., None])",
        tests=("tests/methods/text/test_word2vec.py",),
    ),
    _text(
        name="word2vec: the learning rate falls to 0",
        file="optim/schedules.py",
        before="max(1 - step / total, floor)",
        after="1 - step / total",
        tests=("tests/methods/text/test_word2vec.py::test_the_learning_rate_falls_in_a_line_to_its_floor",),
    ),
    _text(
        name="masked language model: a tenth instead of a half of the others stay",
        file="methods/text/masking.py",
        before="torch.where(coins < 0.5, there, replacements)",
        after="torch.where(coins < 0.1, there, replacements)",
        tests=(
            "tests/methods/text/test_masked_language_model.py::test_of_ten_words_eight_become_mask_one_stays_and_one_is_any",
        ),
    ),
    _text(
        name="masked language model: the end of a sentence is never a replacement",
        file="methods/text/masking.py",
        before="shown = torch.where(kinds < 0.8, mask_id, others)",
        after="shown = torch.where(kinds < 0.8, mask_id, others.clamp(min=1))",
        tests=(
            "tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[bert_mask-float64]",
            "tests/methods/text/test_masked_language_model.py",
        ),
    ),
    _text(
        name="masked language model: places that stand for none count in the loss",
        file="losses/text.py",
        before="    weights = weights.to(logits.dtype)\n    each",
        after="    weights = torch.ones_like(labels, dtype=logits.dtype)\n    each",
        tests=("tests/golden/test_golden.py::test_output_and_gradient_equal_the_reference[bert_mlm_loss-float64]",),
    ),
    _text(
        name="rare words: those of exactly min_count are left out",
        file="data/vocabulary.py",
        before="if often[place] >= min_count",
        after="if often[place] > min_count",
        tests=("tests/data/test_text.py::test_words_are_sorted_by_how_often_they_occur_behind_the_sentence_end",),
    ),
)
