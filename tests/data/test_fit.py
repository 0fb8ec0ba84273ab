"""DataModules under a Trainer."""

import gc
import warnings
from functools import cache

import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from sslbolts._lightning import lightning_module
from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule, ImageFolderDataModule
from sslbolts.data.workers import start_worker
from sslbolts.errors import UsageError
from sslbolts.training.facts import per_device_batch_size
from tests.data.helpers import Recorder, quiet_trainer, write_folder

ModelCheckpoint = lightning_module("callbacks").ModelCheckpoint


def few(**settings):
    """50 images: 5 batches of 10."""
    images = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dataset = TensorDataset(images, torch.arange(50) % 5)
    arguments = {"num_classes": 5, "val": dataset, "batch_size": 10, "seed": 1, "num_workers": 0}
    return DatasetDataModule(dataset, **(arguments | settings))


def fit(data, max_epochs=2, model=None, ckpt_path=None, **settings):
    model = model or Recorder(data.in_chans)
    trainer = quiet_trainer(max_epochs=max_epochs, **settings)
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
    return model


def sets(folder):
    return {
        "mini": CIFAR10MiniDataModule(batch_size=100, num_workers=0),
        "mini worker": CIFAR10MiniDataModule(batch_size=100, views="byol"),
        "mini device": CIFAR10MiniDataModule(batch_size=100, augment_on="device"),
        "dataset": few(),
        "dataset in memory": few(in_memory=True, num_workers=1),
        "folder": ImageFolderDataModule(str(folder), batch_size=6, image_size=32, num_workers=0),
        "folder workers": ImageFolderDataModule(str(folder), batch_size=6, image_size=32, views="swav", num_workers=2),
        "folder device": ImageFolderDataModule(
            str(folder), batch_size=6, image_size=32, augment_on="device", val_fraction=0.25
        ),
    }


@pytest.fixture
def messages(monkeypatch):
    """Lines that a DataModule logs."""
    lines = []
    for module in ("loader", "progress"):
        monkeypatch.setattr(f"sslbolts.data.{module}.rank_zero_info", lines.append)
    return lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images"), per_class=8, size=(70, 90))


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("name", sets("."))
def test_every_datamodule_trains_validates_and_predicts(folder, name):
    data = sets(folder)[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*many workers.*")
        warnings.filterwarnings("error", message=".*is zero.*")
        model = fit(data)
    steps = data.num_train_images // data.batch_size
    assert [(epoch, step) for epoch, step, _, _ in model.seen] == [(e, s) for e in range(2) for s in range(steps)]
    assert all(isinstance(batch, ViewBatch) for batch in model.batches)
    assert all(view.dtype == torch.float32 for batch in model.batches for view in batch.views)
    assert all(batch[0].dtype == torch.float32 for batch in model.validated)
    assert bool(model.validated) == bool(data.val_dataloader())
    predicted = quiet_trainer().predict(model, datamodule=data)
    assert torch.cat([indices for _, _, indices in predicted]).tolist() == list(range(data.num_train_images))


@pytest.mark.parametrize(
    ("cores", "threads", "said"),
    [
        (2, 1, "in the loader (worker processes: 1,"),
        (2, 2, "in the training process (worker processes: 0,"),  # there is no core for a worker
        (1, 1, "in the training process (worker processes: 0,"),
        (8, 8, "in the loader (worker processes: 1,"),
    ],
)
def test_the_place_of_the_augmentation_is_said_in_one_line(messages, monkeypatch, cores, threads, said):
    monkeypatch.setattr("sslbolts.data.workers._cores", lambda processes: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    CIFAR10MiniDataModule(batch_size=2500).train_dataloader()
    lines = [line for line in messages if "training images" in line]
    assert lines == [f"5,000 training images: augmented {said} views: 2)."]


# -------------------------------------------------------------------- resuming


def drawn(seen):
    """Images and views, without the numbers that Lightning gives to epochs (it ends one where max_steps ends a run)."""
    return [(indices, views) for _, _, indices, views in seen]


class SaveAfter(lightning_module("callbacks").Callback):
    """Saves a checkpoint when a batch has been trained."""

    def __init__(self, step, path):
        self.step = step
        self.path = path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@cache
def whole_run(workers):
    """An uninterrupted run of 13 steps."""
    return fit(few(num_workers=workers, in_memory=workers == 1), max_epochs=-1, max_steps=13)


@pytest.mark.parametrize(
    ("workers", "step"),
    [
        *[(0, 3), (0, 5), (0, 8), (0, 10), (2, 3), (1, 8)],
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(1, 3), (2, 5)]),
    ],
)
def test_a_resumed_run_sees_what_the_uninterrupted_one_would_bitwise(tmp_path, workers, step):
    settings = {"num_workers": workers, "in_memory": workers == 1}
    whole = whole_run(workers)
    assert len(whole.seen) == 13
    while_training, after_fit = tmp_path / "while_training.ckpt", tmp_path / "after_fit.ckpt"
    trainer = quiet_trainer(max_epochs=-1, max_steps=step, callbacks=[SaveAfter(step, while_training)])
    trainer.fit(first := Recorder(), datamodule=few(**settings))
    trainer.save_checkpoint(after_fit)
    for path in (while_training, after_fit):
        torch.manual_seed(1)  # another process would have drawn something else
        rest = fit(few(**settings), max_epochs=-1, max_steps=13, ckpt_path=path)
        assert drawn(first.seen + rest.seen) == drawn(whole.seen), path.stem
        for a, b in zip(whole.parameters(), rest.parameters()):
            assert torch.equal(a, b), path.stem


@pytest.mark.parametrize(
    ("step", "batch_size"),
    [
        *[(10, 7), (3, 7), (4, 25), (5, 25), (5, 3), (3, 3)],  # each step and each size
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [(4, 7), (5, 7), (3, 25), (10, 25), (4, 3), (10, 3)]),
    ],
)
def test_epochs_after_one_resumed_with_another_batch_size_see_every_image_once(tmp_path, step, batch_size, messages):
    path = tmp_path / "stopped.ckpt"
    fit(few(), max_epochs=-1, max_steps=step, callbacks=[SaveAfter(step, path)])  # of 5 batches
    per_epoch = 50 // batch_size

    def epochs_of(model):
        found = {}
        for epoch, _, indices, _ in model.seen:
            found.setdefault(epoch, []).extend(indices)
        return [indices for indices in found.values() if len(indices) == per_epoch * batch_size]

    model = fit(few(batch_size=batch_size), max_epochs=5, ckpt_path=path)
    assert len([line for line in messages if "checkpoint's epochs had 5 batches" in line]) == 1
    whole = epochs_of(model)
    assert len(whole) >= 2
    assert all(len(set(indices)) == len(indices) for indices in whole)
    assert len({tuple(indices) for indices in whole}) == len(whole)  # each in an order of its own


def test_a_run_resumed_with_another_batch_size_can_be_resumed_again(tmp_path):
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    fit(few(), max_steps=3, callbacks=[SaveAfter(3, first)])
    data = few(batch_size=7)
    model = fit(data, max_epochs=4, ckpt_path=first, callbacks=[SaveAfter(12, second)])
    rest = fit(few(batch_size=7), max_epochs=4, ckpt_path=second)
    assert 0 < len(rest.seen) == len(model.seen) - 9
    assert drawn(rest.seen) == drawn(model.seen[9:])
    assert drawn(fit(data, 1).seen) == drawn(fit(few(batch_size=7), 1).seen)  # a run of its own has no past


@pytest.mark.parametrize("interval", [{}, {"val_check_interval": 2}, {"accumulate_grad_batches": 2}])
@pytest.mark.parametrize("hook", ["train_batch_end", "validation_end", "train_epoch_end"])
def test_resuming_from_a_checkpoint_of_modelcheckpoint(tmp_path, hook, interval):
    when = {
        "train_batch_end": {"every_n_train_steps": 2},
        "validation_end": {"save_on_train_epoch_end": False},
        "train_epoch_end": {"save_on_train_epoch_end": True},
    }[hook]

    def run(directory, **more):
        saver = ModelCheckpoint(directory, save_top_k=-1, filename="{step}", **when)
        settings = {"callbacks": [saver], "enable_checkpointing": True} | interval
        return fit(few(num_workers=1, in_memory=True), max_epochs=2, **settings, **more)

    whole = run(tmp_path / "whole")
    checkpoints = sorted((tmp_path / "whole").glob("*.ckpt"))
    assert checkpoints
    for path in checkpoints:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*not resumable.*")
            rest = run(tmp_path / "rest", ckpt_path=path)
        assert rest.seen == whole.seen[len(whole.seen) - len(rest.seen) :], path
        for a, b in zip(whole.parameters(), rest.parameters()):
            assert torch.equal(a, b)


def test_persistent_workers_go_through_several_epochs():
    alone, kept = fit(few(), 3), fit(few(num_workers=2, persistent_workers=True), 3)
    assert kept.seen == alone.seen == fit(few(num_workers=2, persistent_workers=False), 3).seen


def test_workers_leave_what_they_inherit_to_its_owner():
    """The garbage collector writes into all that it looks at, of which a forked worker then has its own copy."""
    settings = {"num_workers": 1, "worker_init_fn": start_worker, "multiprocessing_context": "fork"}
    (frozen,) = DataLoader([0], collate_fn=lambda rows: gc.get_freeze_count(), **settings)
    assert frozen > 10_000


def test_a_loader_asked_for_in_the_middle_of_training_starts_at_its_beginning():
    class Look(lightning_module("callbacks").Callback):
        def on_train_epoch_end(self, trainer, module):
            self.first = next(iter(trainer.datamodule.train_dataloader()))

    look = Look()
    fit(few(), 1, callbacks=[look])
    assert len(look.first.indices) == 10


# -------------------------------------------------------------------- seeds


def test_the_seed_is_that_of_seed_everything_and_stays_in_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    whole = fit(few(seed=None))
    assert whole.seen == fit(few(seed=11)).seen
    path = tmp_path / "3.ckpt"
    fit(few(seed=None), max_steps=3, callbacks=[SaveAfter(3, path)])
    monkeypatch.setenv("PL_GLOBAL_SEED", "12")
    assert fit(few(seed=None), ckpt_path=path).seen == whole.seen[3:]
    assert fit(few(seed=13), ckpt_path=path).seen == fit(few(seed=13)).seen[3:]  # what is given wins


def test_without_any_seed_it_is_torchs(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    torch.manual_seed(21)
    first = fit(few(seed=None), 1).seen
    torch.manual_seed(22)
    assert fit(few(seed=None), 1).seen != first
    torch.manual_seed(21)
    assert fit(few(seed=None), 1).seen == first


@pytest.mark.parametrize("in_memory", [True, False])
def test_making_views_takes_nothing_from_torchs_own_generator(in_memory):
    data = few(seed=3, in_memory=in_memory)
    loader = data.train_dataloader()
    before = torch.get_rng_state()
    for batch in loader:
        data.on_after_batch_transfer(batch, 0)
    after = torch.get_rng_state()
    torch.set_rng_state(before)
    list(DataLoader([0]))  # any DataLoader draws one number when it is iterated
    assert torch.equal(after, torch.get_rng_state())


def test_a_loop_over_seeds_has_an_order_and_views_of_each(monkeypatch, tmp_path):
    shared, alone = few(seed=None, in_memory=True, labels_per_class=2), {}
    for seed in ("11", "12", "11"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        alone[seed] = fit(few(seed=None, in_memory=True, labels_per_class=2), 1)
        model = fit(shared, 1)
        assert model.seen == alone[seed].seen
        for ours, theirs in zip(model.batches, alone[seed].batches, strict=True):
            assert torch.equal(ours.targets, theirs.targets)
    assert alone["11"].seen != alone["12"].seen


def test_of_a_run_that_was_resumed_or_evaluated_from_a_checkpoint_the_next_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    path = tmp_path / "3.ckpt"
    fit(few(seed=None), max_steps=3, callbacks=[SaveAfter(3, path)])
    monkeypatch.setenv("PL_GLOBAL_SEED", "12")
    fresh = fit(few(seed=None, batch_size=7), 1).seen
    data = few(seed=None, batch_size=7)
    fit(data, 2, ckpt_path=path)  # with other epochs than the checkpoint's, whose place is settled anew
    assert fit(data, 1).seen == fresh
    quiet_trainer().validate(Recorder(), datamodule=data, ckpt_path=path, verbose=False)
    assert data.state_dict()["seed"] == 11
    assert fit(data, 1).seen == fresh


def test_a_trainer_that_goes_on_keeps_its_seed(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    whole = fit(few(seed=None), 2).seen
    data, model, trainer = few(seed=None), Recorder(), quiet_trainer(max_epochs=1)
    trainer.fit(model, datamodule=data)
    monkeypatch.setenv("PL_GLOBAL_SEED", "12")
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, datamodule=data)
    assert model.seen == whole


def test_outside_a_run_nothing_is_left_of_its_ranks_precision_and_overfitting():
    data = few(batch_size=8)
    fit(data, 1, precision="bf16-true", overfit_batches=2)
    loader = data.train_dataloader()
    assert loader.sampler.shuffle
    assert data.on_after_batch_transfer(next(iter(loader)), 0).views[0].dtype == torch.float32
    data.batch_size = 5  # as Lightning's BatchSizeFinder sets it
    assert len(next(iter(data.val_dataloader()))[0]) == 5


# -------------------------------------------------------------------- Trainer settings


def test_overfit_batches_trains_on_the_same_images_every_epoch():
    model = fit(few(), 3, overfit_batches=2)
    assert [indices for _, _, indices, _ in model.seen] == [list(range(10)), list(range(10, 20))] * 3
    assert len({views[0] for _, _, _, views in model.seen}) == 6  # under new views


def test_limits_and_fast_dev_run():
    limited = fit(few(), 2, limit_train_batches=3).seen
    assert drawn(limited) == drawn(fit(few(), 2).seen[:6])  # the second epoch takes up what the first left
    assert len(fit(few(), 2, limit_train_batches=0.4).seen) == 4
    assert len(fit(few(num_workers=1), 2, fast_dev_run=True).seen) == 1


def test_reloading_loaders_every_epoch_changes_nothing():
    assert fit(few(), 3, reload_dataloaders_every_n_epochs=1).seen == fit(few(), 3).seen


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-true", torch.bfloat16), ("64-true", torch.float64)])
@pytest.mark.parametrize("where", ["device", "worker"])
def test_views_and_evaluation_images_have_the_type_of_the_model(precision, dtype, where):
    model = fit(few(augment_on=where), 1, precision=precision)
    assert {view.dtype for batch in model.batches for view in batch.views} == {dtype}
    assert {batch[0].dtype for batch in model.validated} == {dtype}
    assert {batch.targets.dtype for batch in model.batches} == {torch.int64}


def test_mixed_precision_keeps_views_in_float32():
    model = fit(few(), 1, precision="bf16-mixed")
    assert {view.dtype for batch in model.batches for view in batch.views} == {torch.float32}


def test_the_batch_size_can_be_read_from_the_loader():
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(Recorder(), datamodule=few())
    assert per_device_batch_size(trainer) == 10
    assert isinstance(trainer.val_dataloaders.sampler, SequentialSampler)


def test_a_set_smaller_than_a_batch_is_refused_before_training():
    with pytest.raises(UsageError, match=r"50 images, but one batch takes 64 \(batch_size=64\)"):
        fit(few(batch_size=64))


def test_fitting_again_starts_a_new_run():
    data, model = few(), Recorder()
    fit(data, 1, model=model)
    fit(data, 1, model=model)
    assert model.seen[:5] == model.seen[5:]


def test_other_peoples_batches_pass_through_the_hook():
    data = few()
    for batch in ({"x": torch.zeros(2)}, (torch.zeros(2, 3), torch.zeros(2)), [], None, torch.zeros(3)):
        assert data.on_after_batch_transfer(batch, 0) is batch
