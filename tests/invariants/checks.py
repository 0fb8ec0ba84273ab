"""What holds for every method, as functions of a case; each fails with an assertion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sslbolts import export_backbone, load_backbone
from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.distributed import rank
from tests.helpers.nets import TinyBackbone, without_batch_norm
from tests.helpers.trainers import Recorder, quiet_trainer, state_of
from tests.invariants.cases import MethodCase

# ---------------------------------------------------------------------------------- two processes are one process


def _train_recorded(case: MethodCase, world: int) -> dict[str, Any]:
    module = without_batch_norm(case.module()).double()
    recorder = Recorder()
    loader = case.loader(rank=rank(), world=world, dtype=torch.float64)
    quiet_trainer(world=world, max_steps=3, callbacks=[recorder]).fit(module, loader)
    return {"losses": recorder.losses, "gradients": recorder.gradients, "state": state_of(module)}


def two_processes_equal_one(case: MethodCase, two_ranks: Callable[..., list[Any]]) -> None:
    """Loss, every gradient and the state after three steps equal one process' on the concatenated batch."""
    one = _train_recorded(case, 1)
    both = two_ranks(_train_recorded, case, 2)
    for step, loss in enumerate(one["losses"]):
        mean = (both[0]["losses"][step] + both[1]["losses"][step]) / 2
        torch.testing.assert_close(mean, loss, rtol=1e-9, atol=1e-12)
    assert both[0]["losses"][0] != both[1]["losses"][0], "the ranks must see different data"
    for half in both:
        for ours, expected in zip(half["gradients"], one["gradients"], strict=True):
            assert ours.keys() == expected.keys()
            for name in expected:
                torch.testing.assert_close(ours[name], expected[name], rtol=1e-6, atol=1e-9, msg=_named(name))
        for name, expected_value in one["state"].items():
            torch.testing.assert_close(half["state"][name], expected_value, rtol=1e-6, atol=1e-9, msg=_named(name))


# ------------------------------------------------------------------------------------------------- accumulation


class _SlowState(Callback):
    """What a method moves outside of its optimizer, after every batch."""

    def __init__(self) -> None:
        self.teachers: list[list[Tensor]] = []
        self.buffers: list[list[Tensor]] = []
        self.steps: list[int] = []

    def record(self, trainer: Trainer, pl_module: Any) -> None:
        of_norms = {
            id(b) for m in pl_module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for b in m.buffers()
        }
        self.teachers.append([p.clone() for _, teacher in pl_module.ema_pairs() for p in teacher.parameters()])
        self.buffers.append([b.clone() for b in pl_module.buffers() if id(b) not in of_norms])
        self.steps.append(trainer.global_step)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.record(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx > 0:  # after everything that callbacks did at the end of the batch before
            self.record(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.record(trainer, pl_module)


def slow_state_moves_once_per_optimizer_step(case: MethodCase) -> None:
    """Teacher, queue and centre stand still while gradients are only accumulated."""
    slow = _SlowState()
    module = case.module()
    quiet_trainer(max_steps=2, accumulate_grad_batches=2, callbacks=[slow]).fit(module, case.loader())
    assert slow.steps == [0, 0, 1, 1, 2]
    for batch in (0, 2):  # batches that only accumulate
        assert _equal(slow.teachers[batch], slow.teachers[batch + 1])
        assert _equal(slow.buffers[batch], slow.buffers[batch + 1])
    if module.ema_pairs():
        for batch in (1, 3):
            assert not _equal(slow.teachers[batch], slow.teachers[batch + 1]), "the teacher does not move"


# ------------------------------------------------------------------------------------------------------- export


def backbone_is_exported_exactly(case: MethodCase, folder: Path) -> None:
    """The student's and the teacher's backbone, from the module and from its checkpoint, load strictly and agree."""
    named = {"backbone": "resnet10t", "stem": "cifar", "warmup_epochs": 0.0}
    module = case.module(**named)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, case.loader())
    trainer.save_checkpoint(folder / "method.ckpt")
    images = torch.randn(2, 3, 32, 32)
    networks = {False: module.backbone}
    networks.update((True, teacher) for student, teacher in module.ema_pairs() if student is module.backbone)
    features = []
    for teacher, network in networks.items():
        features.append(expected := network.eval()(images))
        file = export_backbone(module, folder / f"{teacher}.safetensors", teacher=teacher)
        assert torch.equal(load_backbone(file)(images), expected)
        assert torch.equal(load_backbone(folder / "method.ckpt", teacher=teacher)(images), expected)
        again = export_backbone(folder / "method.ckpt", folder / "again.safetensors", teacher=teacher)
        assert torch.equal(load_backbone(again)(images), expected)
    assert len(features) == 1 or not torch.equal(*features), "teacher and student are one"


# --------------------------------------------------------------------------------------------------- precision


def half_precision_is_finite(case: MethodCase) -> None:
    """bf16-mixed runs, losses and weights stay finite, and the first loss is near that of float32."""
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        recorder, module = Recorder(), case.module()
        quiet_trainer(max_steps=2, precision=precision, callbacks=[recorder]).fit(module, case.loader())
        assert all(tensor.isfinite().all() for tensor in module.state_dict().values())
        losses.append(torch.stack(recorder.losses))
    full, half = losses
    assert half.dtype == torch.float32
    assert half.isfinite().all()
    torch.testing.assert_close(half[0], full[0], rtol=0.05, atol=0.05)


# ------------------------------------------------------------------------------------------------------ compile


def compiled_backbone_has_the_same_loss(case: MethodCase, compiler: str) -> None:
    """The step on a compiled backbone gives the eager loss, and leaves the names of the state dict alone."""
    eager, compiled = Recorder(), Recorder()
    module = case.module()
    names = list(module.state_dict())
    quiet_trainer(max_steps=2, callbacks=[eager]).fit(module, case.loader())
    module = case.module()
    module.backbone.compile(backend=compiler)
    quiet_trainer(max_steps=2, callbacks=[compiled]).fit(module, case.loader())
    torch.testing.assert_close(torch.stack(compiled.losses), torch.stack(eager.losses), rtol=1e-4, atol=1e-4)
    assert list(module.state_dict()) == names


# ------------------------------------------------------------------------------- nothing makes the device wait


class _NoWaiting(TorchDispatchMode):
    """Fails on operations whose result, or its shape, the host must read from the device."""

    READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "unique_", "bincount")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        assert not name.startswith(self.READS), f"the training step waits for the device in {name}"
        if name == "index":
            assert all(i is None or i.dtype != torch.bool for i in args[1]), "indexing by a mask waits for the device"
        return func(*args, **(kwargs or {}))


class _NoCopies(TorchFunctionMode):
    """Fails on methods that bring a tensor to the host; on a CPU they would go unnoticed."""

    NAMES = ("cpu", "item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        assert name not in self.NAMES, f"the training step brings a tensor to the host with {name}()"
        return func(*args, **(kwargs or {}))


def step_never_waits_for_the_device(case: MethodCase) -> None:
    module = case.module()
    step, calls = module.training_step, []

    def watched(*args: Any) -> Any:
        calls.append(args)
        with _NoCopies(), _NoWaiting():
            return step(*args)

    module.training_step = watched  # type: ignore[method-assign]
    quiet_trainer(max_steps=2).fit(module, case.loader())
    assert len(calls) == 2


# ------------------------------------------------------------------------------------------------------ helpers


def dropout_backbone() -> nn.Module:
    return TinyBackbone(dropout=0.1)


def _equal(before: list[Tensor], after: list[Tensor]) -> bool:
    return all(map(torch.equal, before, after))


def _named(name: str) -> Callable[[str], str]:
    return lambda message: f"{name}: {message}"
