"""What holds for every method, as functions of a case; each fails with an assertion."""

import copy
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbolts import SSLModule, export_backbone, load_backbone
from sslbolts._lightning import Callback, LightningModule, Trainer, lightning_module
from sslbolts.batch import ViewBatch
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, NanGuard, OnlineLinearProbe, Preflight
from sslbolts.data import CIFAR10MiniDataModule, TensorImages
from sslbolts.data.base import Split
from sslbolts.distributed import rank
from sslbolts.readouts import knn_predict
from sslbolts.training.memory import Memory, memory_names
from tests.helpers.nets import SmallConvNet, TinyBackbone, without_batch_norm
from tests.helpers.trainers import Recorder, quiet_trainer, state_of
from tests.invariants.cases import MethodCase
from tests.invariants.text_cases import TextCase

# ---------------------------------------------------------------------------------- two processes are one process


def _train_recorded(case: MethodCase, world: int) -> dict[str, Any]:
    module = without_batch_norm(case.module()).double()
    recorder = Recorder()
    loader = case.loader(rank=rank(), world=world, dtype=torch.float64)
    quiet_trainer(world=world, max_steps=3, callbacks=[recorder]).fit(module, loader)
    batch = next(iter(loader))
    seen = batch.views[0] if isinstance(batch, ViewBatch) else batch[0]
    return {"losses": recorder.losses, "gradients": recorder.gradients, "state": state_of(module), "seen": seen}


def two_processes_equal_one(case: MethodCase, two_ranks: Callable[..., list[Any]]) -> None:
    """Loss, every gradient and the state after three steps equal one process' on the concatenated batch."""
    one = _train_recorded(case, 1)
    both = two_ranks(_train_recorded, case, 2)
    for step, loss in enumerate(one["losses"]):
        mean = (both[0]["losses"][step] + both[1]["losses"][step]) / 2
        torch.testing.assert_close(mean, loss, rtol=1e-9, atol=1e-12)
    # Their losses need not differ: that of a cross-correlation is one for all ranks.
    assert not torch.equal(both[0]["seen"], both[1]["seen"]), "the ranks must see different data"
    for half in both:
        for ours, expected in zip(half["gradients"], one["gradients"], strict=True):
            assert ours.keys() == expected.keys()
            for name in expected:
                torch.testing.assert_close(ours[name], expected[name], rtol=1e-8, atol=1e-9, msg=_named(name))
        for name, expected_value in one["state"].items():
            torch.testing.assert_close(half["state"][name], expected_value, rtol=1e-8, atol=1e-9, msg=_named(name))


# ------------------------------------------------------------------------------------------------- accumulation


class _SlowState(Callback):
    """What a method moves outside of its optimizer, after every batch."""

    def __init__(self) -> None:
        self.teachers: list[list[Tensor]] = []
        self.buffers: list[list[Tensor]] = []
        self.memories: list[dict[str, list[Tensor]]] = []
        self.steps: list[int] = []

    def record(self, trainer: Trainer, pl_module: Any) -> None:
        of_norms = {
            id(b) for m in pl_module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for b in m.buffers()
        }
        self.teachers.append([p.clone() for _, teacher in pl_module.ema_pairs() for p in teacher.parameters()])
        self.buffers.append([b.clone() for b in pl_module.buffers() if id(b) not in of_norms])
        kept = {name: part for name, part in pl_module.named_modules() if isinstance(part, Memory)}
        self.memories.append({name: [b.clone() for b in part.buffers()] for name, part in kept.items()})
        self.steps.append(trainer.global_step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.record(trainer, pl_module)  # after everything that callbacks did at the end of the batch before

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.record(trainer, pl_module)


def slow_state_moves_once_per_optimizer_step(case: MethodCase) -> None:
    """Teacher, queue and center stand still while gradients are only accumulated, and move with the optimizer."""
    slow = _SlowState()
    module = case.module()
    staging = _names_of_what_stages(module)
    quiet_trainer(max_steps=2, accumulate_grad_batches=2, callbacks=[slow]).fit(module, case.loader())
    assert slow.steps == [0, 0, 1, 1, 2]
    for batch in (0, 2):  # batches that only accumulate
        assert _equal(slow.teachers[batch], slow.teachers[batch + 1])
        assert _equal(slow.buffers[batch], slow.buffers[batch + 1])
    if module.ema_pairs():
        for batch in (1, 3):
            assert not _equal(slow.teachers[batch], slow.teachers[batch + 1]), "the teacher does not move"
    for name in staging:
        for batch in (1, 3):
            before, after = slow.memories[batch][name], slow.memories[batch + 1][name]
            assert not _equal(before, after), f"{name} does not take what was staged"


def _names_of_what_stages(module: nn.Module) -> set[str]:
    """Names of the memories that are told to stage something; known once the module has trained."""
    names: set[str] = set()

    def told(name: str, stage: Callable[..., None]) -> Callable[..., None]:
        def note(*rows: Tensor) -> None:
            names.add(name)
            stage(*rows)

        return note

    for name, part in module.named_modules():
        if isinstance(part, Memory):
            part.stage = told(name, part.stage)  # type: ignore[method-assign]
    return names


# ------------------------------------------------------------------------------------ resuming, and looking on


def _monitors(case: MethodCase) -> list[Callback]:
    if case.learns_from == "text":
        return [CollapseMonitor(every_n_steps=1), Preflight()]
    return [
        OnlineLinearProbe(num_classes=10),
        KNNMonitor(k=5, max_bank=200),
        CollapseMonitor(every_n_steps=1),
        Preflight(),
        NanGuard(every_n_steps=1),
    ]


def _images(case: MethodCase, **settings: Any) -> CIFAR10MiniDataModule:
    return case.images(eval_batch_size=100, seed=7, **settings)


class _Names(Callback):
    """Names of what CollapseMonitor can look at."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.names |= trainer.callback_metrics.keys()


def _long_queues(case: MethodCase) -> dict[str, int]:
    """Arguments by which queues are as long as three batches: none starts over where a run is interrupted."""
    return {name: 48 for name in ("queue_length", "num_words") if name in case.small}


def _run(case: MethodCase, callbacks: list[Callback], **fit: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two epochs of three steps on real images, with dropout; the checkpoint at the end, and the monitors' metrics."""
    module = case.module(partial(TinyBackbone, dropout=0.1), warmup_epochs=0.5, **_long_queues(case))
    if fit:
        with torch.no_grad():
            for p in module.parameters():
                p.add_(1)  # whatever a resumed module starts from does not matter
        torch.manual_seed(1234)  # another process would have drawn something else
        torch.randn(11)
    saves = any("Checkpoint" in type(callback).__name__ for callback in callbacks)
    settings = {"max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 1, "enable_checkpointing": saves}
    trainer = quiet_trainer(callbacks=callbacks, **settings)
    trainer.fit(module, datamodule=case.text() if isinstance(case, TextCase) else _images(case), **fit)
    end = trainer._checkpoint_connector.dump_checkpoint()
    end["callbacks"] = {key: state for key, state in end["callbacks"].items() if "ModelCheckpoint" not in key}
    return end, dict(trainer.callback_metrics)


@dataclass(frozen=True)
class Watched:
    """A run with all monitors: its checkpoints in a folder, the one at its end, the metrics then, and all names."""

    folder: Path
    end: dict[str, Any]
    metrics: dict[str, Any]
    names: set[str]


def watched_run(case: MethodCase, folder: Path) -> Watched:
    """The run that the next four checks look at."""
    model_checkpoint = lightning_module("callbacks").ModelCheckpoint
    keep = {"dirpath": folder, "save_top_k": -1, "auto_insert_metric_name": False}
    savers = [
        model_checkpoint(filename="step{step}", every_n_train_steps=2, **keep),
        model_checkpoint(filename="step{step}", every_n_train_steps=3, **keep),
        model_checkpoint(filename="epoch{epoch}", every_n_epochs=1, **keep),
    ]
    seen = _Names()
    end, metrics = _run(case, [*_monitors(case), *savers, seen])
    if case.learns_from == "images":
        assert metrics.keys() >= {"probe/top1", "knn/k5_t0.07", "ridge/top1"}
    return Watched(folder, end, metrics, seen.names)


def indicators_are_logged(case: MethodCase, watched: Watched) -> None:
    """What a method names as a sign of its health is there while it trains."""
    missing = {indicator.metric for indicator in case.method.indicators} - watched.names
    assert not missing, f"{', '.join(missing)}: named as an indicator, but not logged in training"


WITHIN, AFTER_ITS_LAST_BATCH, AT_ITS_END = "step2.ckpt", "step3.ckpt", "epoch0.ckpt"
PLACES = (WITHIN, AFTER_ITS_LAST_BATCH, AT_ITS_END)
"""Checkpoints of the first epoch."""


def places_of(case: MethodCase) -> tuple[str, ...]:
    """Where an epoch must be interrupted to reach all code of the method's own.

    Between two epochs only our base classes and Lightning do something, unless the method has a hook there.
    """
    classes = case.method.__mro__[: case.method.__mro__.index(SSLModule)]
    hooks = (name for cls in classes for name in vars(cls) if name.startswith("on_"))
    return PLACES if any("epoch" in hook for hook in hooks) else (WITHIN,)


def resumed_run_is_the_uninterrupted_one(case: MethodCase, watched: Watched, places: Iterable[str] = ()) -> None:
    """Weights, teacher, memories, optimizer, probe, the Trainer's counts and all metrics, bit for bit."""
    assert set(memory_names(case.module())) <= watched.end["state_dict"].keys()
    for name in places or places_of(case):
        torch.load(watched.folder / name, weights_only=True)
        resumed_end, resumed_metrics = _run(case, _monitors(case), ckpt_path=str(watched.folder / name))
        for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops"):
            assert_same(resumed_end[part], watched.end[part], f"{name}: {part}")
        assert_same(resumed_metrics, watched.metrics, f"{name}: metrics")


def monitors_change_no_bit(case: MethodCase, watched: Watched) -> None:
    """Weights and optimizer after training are the same with all monitors and with none."""
    alone, _ = _run(case, [])
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(watched.end[part], alone[part], part)


class OddImages(CIFAR10MiniDataModule):
    """97 queries, which two processes cannot share equally."""

    def load(self, split: Any) -> TensorImages:
        images = super().load(split)
        return images if split in ("train", "bank") else TensorImages(images.data[:97], images.targets[:97])


def _evaluate(case: MethodCase, world: int, checkpoint: Path) -> dict[str, float]:
    monitors = [OnlineLinearProbe(num_classes=10), KNNMonitor(max_bank=240)]
    trainer = quiet_trainer(world=world, callbacks=monitors, use_distributed_sampler=True)
    images = OddImages(batch_size=16, views=case.views, eval_batch_size=25, num_workers=0)
    module = case.module(**_long_queues(case))
    trainer.validate(module, datamodule=images, ckpt_path=str(checkpoint), verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def evaluation_on_two_processes_is_that_on_one(
    case: MethodCase, watched: Watched, two_ranks: Callable[..., Any]
) -> None:
    """kNN, ridge and probe accuracy of 97 images do not depend on the number of processes."""
    checkpoint = watched.folder / AT_ITS_END
    one = _evaluate(case, 1, checkpoint)
    accuracies = {"probe/top1", "knn/k20_t0.07", "knn/k200_t0.07", "ridge/top1"}
    assert accuracies <= one.keys()
    for metrics in two_ranks(_evaluate, case, 2, checkpoint):
        assert {name: metrics[name] for name in accuracies} == {name: one[name] for name in accuracies}
        assert metrics.keys() == one.keys()


# ---------------------------------------------------------------------------------------------------- learning


def untrained_and_trained_accuracy(case: MethodCase, seed: int) -> tuple[float, float]:
    """kNN-20 accuracy on the packaged images before and after a short run."""
    torch.manual_seed(seed)
    module = case.learner(case.made(partial(SmallConvNet, *((16, 32, 64) if case.halved else ()))))
    module.log = lambda *args, **settings: None  # type: ignore[method-assign]  # a tenth of the time, and nobody reads it
    trainer = quiet_trainer(max_epochs=case.epochs, limit_train_batches=case.part, limit_val_batches=0)
    data = case.learning_images(color="linear", seed=seed)
    untrained = copy.deepcopy(module)
    torch.manual_seed(seed)  # of what the run draws
    trainer.fit(module, datamodule=data)
    return _accuracy(untrained, data), _accuracy(module, data)


@torch.no_grad()
def _accuracy(module: nn.Module, data: CIFAR10MiniDataModule) -> float:
    module.eval()
    bank, queries = (_features(module, data, split) for split in ("bank", "val"))
    module.train()
    votes = knn_predict(queries, bank, data.targets("bank"), k=20, temperature=0.07)
    return float((votes.argmax(1) == data.targets("val")).float().mean())


def _features(module: nn.Module, data: CIFAR10MiniDataModule, split: Split) -> Tensor:
    batches = (data.on_after_batch_transfer(batch, 0) for batch in data.evaluation_dataloader(split))
    return torch.cat([module(images) for images, *_ in batches])


def it_learns(case: MethodCase) -> None:
    if not isinstance(case, TextCase) and case.margin is None:
        pytest.skip(f"{case.method.__name__} takes longer than a test may")
    learn = case.untrained_and_trained if isinstance(case, TextCase) else partial(untrained_and_trained_accuracy, case)
    before, after = learn(seed=0)
    assert after >= before + case.margin, f"it went from {before:.3f} to {after:.3f}, not up by {case.margin}"


# ------------------------------------------------------------------------------------------------------- export


def backbone_is_exported_exactly(case: MethodCase, folder: Path) -> None:
    """The student's and the teacher's backbone, from the module and from its checkpoint, load strictly and agree."""
    narrow = {} if "backbone" in case.small else {"backbone_kwargs": {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}}
    module = case.module("resnet18", stem="cifar", **narrow)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, case.loader())
    trainer.save_checkpoint(folder / "method.ckpt")
    with torch.no_grad():
        images = module.prepare(torch.rand(2, 3, 32, 32)) if case.uniform else torch.randn(2, 3, 32, 32)
    networks = {False: module.backbone}
    networks.update((True, teacher) for student, teacher in module.ema_pairs() if student is module.backbone)
    features = []
    for teacher, network in networks.items():
        features.append(network.eval()(images))
        file = export_backbone(module, folder / f"{teacher}.safetensors", teacher=teacher)
        again = export_backbone(folder / "method.ckpt", folder / "again.safetensors", teacher=teacher)
        for path, which in ((file, False), (again, False), (folder / "method.ckpt", teacher)):
            loaded = load_backbone(path, teacher=which)
            assert_same(loaded.state_dict(), network.state_dict(), str(path))
            # The order of sums follows the memory layout, so features agree but for rounding.
            torch.testing.assert_close(loaded(images), features[-1], rtol=1e-4, atol=1e-6)
    assert len(features) == 1 or not torch.equal(*features), "teacher and student are one"


# --------------------------------------------------------------------------------------------------- precision


def losses_of_two_steps(case: MethodCase, precision: str = "32-true", compiler: str | None = None) -> Tensor:
    """What the next two checks compare; the weights stay finite, and the names of the state dict as they are."""
    recorder, module = Recorder(), case.module()
    names = list(module.state_dict())
    if compiler is not None:
        module.backbone.compile(backend=compiler)
    quiet_trainer(max_steps=2, precision=precision, callbacks=[recorder]).fit(module, case.loader())
    state = module.state_dict()
    assert list(state) == names
    assert all(tensor.isfinite().all() for tensor in state.values())
    return torch.stack(recorder.losses)


def half_precision_is_finite(case: MethodCase, full: Tensor) -> None:
    """bf16-mixed runs, losses and weights stay finite, and the first loss is near that of float32."""
    half = losses_of_two_steps(case, "bf16-mixed")
    assert half.dtype == torch.float32
    assert half.isfinite().all()
    torch.testing.assert_close(half[0], full[0], rtol=0.05, atol=1e-3)


# ------------------------------------------------------------------------------------------------------ compile


def compiled_backbone_has_the_same_loss(case: MethodCase, eager: Tensor, compiler: str) -> None:
    """The step on a compiled backbone gives the eager loss, and leaves the names of the state dict alone."""
    compiled = losses_of_two_steps(case, compiler=compiler)
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)


# ----------------------------------------------------------------------------------------------------- pickling


def it_can_be_pickled(case: MethodCase) -> None:
    """With its default optimizer, and its own settings in the copy's."""
    module = case.module()
    again = pickle.loads(pickle.dumps(module))
    expected, found = (list(m.optimizer([nn.Parameter(torch.zeros(1))]).param_groups) for m in (module, again))
    assert [{**group, "params": 0} for group in found] == [{**group, "params": 0} for group in expected]
    assert all(torch.equal(value, again.get_parameter(name)) for name, value in module.named_parameters())


# ------------------------------------------------------------------------------------------------------ helpers


def assert_same(ours: Any, expected: Any, where: str) -> None:
    """Nested dicts and lists are equal, their tensors bit for bit."""
    if isinstance(expected, Tensor):
        assert torch.equal(ours, expected), f"{where} differs by {(ours - expected).abs().max()}"
    elif isinstance(expected, dict):
        assert ours.keys() == expected.keys(), where
        for key in expected:
            assert_same(ours[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(ours) == len(expected), where
        for i, (a, b) in enumerate(zip(ours, expected)):
            assert_same(a, b, f"{where}/{i}")
    else:
        assert ours == expected, where


def _equal(before: list[Tensor], after: list[Tensor]) -> bool:
    return all(map(torch.equal, before, after))


def _named(name: str) -> Callable[[str], str]:
    return lambda message: f"{name}: {message}"
