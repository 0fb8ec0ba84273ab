"""The particulars of OBoW. Targets and loss against reference values: tests/golden."""

import pytest
import torch
from torch.nn import functional as F

from sslbolts import OBoW, UsageError
from sslbolts._lightning import Callback
from sslbolts.batch import ViewBatch
from sslbolts.methods.teacher_student.obow import Vocabulary, WordGenerator
from sslbolts.training.seeds import generator
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

SIZES = (32, 24, 24, 40)


def _method(**arguments):
    return OBoW(TinyBackbone(), **{"num_words": 16, "lr_scaling": "none", "warmup_epochs": 0.0, **arguments})


def _batch(sizes=SIZES, rows=6):
    return ViewBatch([torch.randn(rows, 3, size, size) for size in sizes], torch.zeros(rows), torch.arange(rows))


def _quiet(method):
    method.log = lambda *_, **__: None
    return method


class _Vocabularies(Callback):
    """Words, pointer and mean distance before and after every batch."""

    def __init__(self):
        self.seen = []

    def _read(self, pl_module):
        self.seen.append([{n: b.clone() for n, b in v.named_buffers()} for v in pl_module.vocabularies])

    def on_train_start(self, trainer, pl_module):
        self._read(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self._read(pl_module)


def _means_of_windows(image, size):
    """Of every window of ``size`` x ``size`` pixels in a map ``(C, H, W)`` that touches no pixel of its border."""
    height, width = image.shape[1:]
    corners = [(y, x) for y in range(1, height - size) for x in range(1, width - size)]
    assert corners
    return [image[:, y : y + size, x : x + size].flatten(1).mean(1) for y, x in corners]


def test_one_teacher_feature_per_image_enters_each_queue_after_the_step():
    method, vocabularies = _method(), _Vocabularies()
    maps = []
    for level in method.levels:
        layer = method.teacher.backbone.get_submodule(level)
        layer.register_forward_hook(lambda module, inputs, output: maps.append(output.clone()))
    quiet_trainer(max_steps=3, callbacks=[vocabularies]).fit(method, noise_loader(18, 6, SIZES))
    for step in range(3):
        for level in range(2):
            before, after = vocabularies.seen[step][level], vocabularies.seen[step + 1][level]
            places = (before["pointer"] + torch.arange(6)) % 16
            kept = torch.tensor([place not in places for place in range(16)])
            assert torch.equal(before["rows"][kept], after["rows"][kept])
            for image, word in zip(maps[2 * step + level], after["rows"][places]):
                means = _means_of_windows(image, 3)
                assert min((mean - word).abs().max() for mean in means) < 1e-6, "the word is no mean off the border"
            assert not torch.equal(before["mean_distance"], after["mean_distance"])


@pytest.mark.parametrize(("side", "left"), [(16, 2), (12, 1)])
def test_where_less_than_a_window_is_left_without_the_border_all_of_it_is_averaged(side, left):
    method = _quiet(_method(levels=["layers.3"]))
    maps = []
    layer = method.teacher.backbone.get_submodule("layers.3")
    layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    method._bags(torch.randn(6, 3, side, side), generator(0))
    method.vocabularies[0].commit()
    expected = torch.stack([_means_of_windows(image, left)[0] for image in maps[0]])
    assert maps[0].shape[2:] == (left + 2, left + 2)
    torch.testing.assert_close(method.vocabularies[0].rows[:6], expected)


def test_mean_distance_is_updated_before_use_and_words_after():
    method = _quiet(_method())
    words = method.vocabularies[0]
    batch = _batch()
    maps = []
    layer = method.teacher.backbone.get_submodule(method.levels[0])
    handle = layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    bags = method._bags(batch.views[0], generator(0))
    handle.remove()
    distances = torch.cdist(maps[0][:, :, 1:-1, 1:-1].flatten(2).mT, words.rows).square()
    mu = 0.99 * 0.5 + 0.01 * distances.amin(2).mean()
    codes = (-15 / mu * distances).softmax(2).amax(1)
    torch.testing.assert_close(bags[0], codes / codes.sum(1, keepdim=True), rtol=1e-4, atol=1e-5)
    assert words.mean_distance == 0.5
    words.commit()
    torch.testing.assert_close(words.mean_distance, mu, rtol=1e-5, atol=1e-6)


def test_batches_that_accumulate_count_as_one_for_the_mean_distance():
    vocabulary = Vocabulary(8, 2)
    for nearest in (1.0, 3.0):
        vocabulary.stage(torch.ones(2, 2), torch.tensor([nearest]))
    vocabulary.commit()
    assert vocabulary.mean_distance.item() == pytest.approx(0.99 * 0.5 + 0.01 * 2.0)
    assert vocabulary.pointer == 4


def test_weights_come_from_the_words_before_the_batch_and_have_norm_kappa():
    method = _quiet(_method(kappa=3.0))
    used = []
    method.generators[0].register_forward_hook(lambda module, inputs, output: used.append((inputs[0].clone(), output)))
    before = method.vocabularies[0].rows.clone()
    loss = method.training_step(_batch(), 0)
    method.vocabularies[0].commit()
    words, weights = used[0]
    assert torch.equal(words, before)
    assert not torch.equal(method.vocabularies[0].rows, before)
    torch.testing.assert_close(weights.norm(dim=1), torch.full((16,), 3.0))
    loss.backward()
    assert method.generators[0].mlp[0].weight.grad.abs().sum() > 0
    assert method.generators[0].kappa.grad is None


def test_the_loss_is_the_sum_over_crop_types_of_the_mean_over_levels():
    method = _quiet(_method()).eval()
    batch = _batch()
    drawn = generator(0, 0, 0)
    bags = method._bags(batch.views[0], drawn)
    types = method._crop_types(batch.views[1:], drawn)
    assert [(len(views), views[0].shape[-1]) for views in types] == [(2, 24), (5, 16)]
    expected = 0.0
    for views in types:
        for bag, make, words in zip(bags, method.generators, method.vocabularies):
            predicted = [F.log_softmax(method.backbone(view) @ make(words.rows).T, dim=1) for view in views]
            divergences = [F.kl_div(p, bag, reduction="batchmean") for p in predicted]
            expected += sum(divergences) / len(views) / 2
    torch.testing.assert_close(method.training_step(batch, 0), expected, rtol=1e-4, atol=1e-5)


def _numbered(rows, side):
    """Images whose pixels are their row, their column and the number of the image."""
    ramp = torch.arange(float(side))
    row, column = ramp[:, None].expand(side, side), ramp.expand(side, side)
    return torch.stack([torch.stack([row, column, torch.full((side, side), float(i))]) for i in range(rows)])


def test_patches_are_different_cells_of_a_three_by_three_grid():
    (patches,) = _method(num_patches=5, patch_jitter=0)._crop_types([_numbered(6, 40)], generator(3))
    corners = torch.stack([patch[:, :2, 0, 0] for patch in patches], dim=1)  # (6, 5, 2) row and column of each patch
    assert {patch.shape[-2:] for patch in patches} == {(16, 16)}
    chosen = [{tuple(corner) for corner in image.tolist()} for image in corners]
    assert all(len(cells) == 5 for cells in chosen)
    assert set.union(*chosen) <= {(y, x) for y in (0, 12, 24) for x in (0, 12, 24)}
    assert len(set(map(frozenset, chosen))) > 1, "every image has the same patches"


def test_every_patch_is_off_its_cell_by_as_much_as_the_official_jitter_and_whole():
    images = _numbered(64, 256)
    (patches,) = _method(num_patches=9)._crop_types([images], generator(3))
    corners = torch.stack([patch[:, :2, 0, 0] for patch in patches], dim=1)  # (64, 9, 2)
    for number, places in enumerate(corners.long().tolist()):
        assert sorted((y // 68, x // 68) for y, x in places) == [(i, j) for i in range(3) for j in range(3)]
        for patch, (y, x) in zip(patches, places):
            assert torch.equal(patch[number], images[number, :, y : y + 96, x : x + 96])
    assert set((corners.long() % 68).flatten().tolist()) == set(range(25))  # 0, ..., 24 of (256 - 96 - 24) / 2 = 68
    assert len({tuple(map(tuple, image)) for image in corners.tolist()}) == 64


def test_synchronized_statistics_of_the_generator_change_nothing_because_ranks_have_the_same_words():
    make, words = WordGenerator(6, 4, kappa=5.0).double(), torch.randn(8, 6, dtype=torch.float64)
    of_ranks = torch.randn(2, 8, 4, dtype=torch.float64)  # what each rank's images do to the weights
    alone = sum((make(words) * gradient).sum() for gradient in of_ranks) / 2
    together = (make(words.repeat(2, 1)).unflatten(0, (2, 8)) * of_ranks).sum() / 2
    torch.testing.assert_close(alone, together)
    parameters = [p for p in make.parameters() if p.requires_grad]
    torch.testing.assert_close(torch.autograd.grad(alone, parameters), torch.autograd.grad(together, parameters))


def test_the_papers_patches_have_96_pixels():
    (patches,) = _method()._crop_types([torch.zeros(1, 3, 256, 256)], generator(0))
    assert [tuple(patch.shape) for patch in patches] == [(1, 3, 96, 96)] * 5


def test_without_patches_the_last_view_is_a_crop():
    types = _method(num_patches=0)._crop_types([torch.zeros(2, 3, size, size) for size in (24, 24, 16)], generator(0))
    assert [(len(views), views[0].shape[-1]) for views in types] == [(2, 24), (1, 16)]


def test_a_teacher_with_one_word_for_all_images_is_a_bad_sign():
    method, logged = _method(), {}
    method.log = lambda name, value, **_: logged.__setitem__(name, float(value))
    views = [torch.zeros(6, 3, size, size) for size in SIZES]
    method.training_step(ViewBatch(views, torch.zeros(6), torch.arange(6)), 0)
    assert method.indicators[0].is_bad(logged["train/perplexity_ratio"])


@pytest.mark.parametrize(
    ("arguments", "sizes", "message"),
    [
        ({"inverse_delta": 0}, SIZES, "inverse_delta=0"),
        ({"num_patches": 10}, SIZES, "num_patches=10"),
        ({"patch_size": 48}, SIZES, "patch_size=48"),
        ({"patch_size": 30, "patch_jitter": 11}, SIZES, "patch_size=30 and patch_jitter=11"),
        ({"patch_jitter": -1}, SIZES, "patch_jitter=-1"),
        ({"levels": ["layers.9"]}, SIZES, 'no layer "layers.9"'),
        ({}, (32,), "at least one for the student"),
        ({}, (8, 24, 40), r"have \(2, 2\) pixels"),
    ],
)
def test_what_cannot_work_is_refused(arguments, sizes, message):
    with pytest.raises(UsageError, match=message):
        _quiet(_method(**arguments)).training_step(_batch(sizes), 0)
