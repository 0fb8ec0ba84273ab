"""Training that ends by a signal, with a checkpoint from which it goes on."""

import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.callbacks.shared.agreement import Agreement, group_on_cpu
from sslbolts.callbacks.shared.redaction import redact
from sslbolts.callbacks.shared.watch import Watch, end_process
from sslbolts.errors import UsageError

__all__ = ["SaveOnSignal", "ended_by_signals"]

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]


class SaveOnSignal(Callback):
    """Saves a checkpoint when SIGTERM, SIGINT, SIGUSR1 or SIGHUP arrives, says how to go on, and ends the process.

    A signal only sets a flag. Where an optimizer step is over all ranks learn of it, one step later, from a number
    that they sum up on the CPU meanwhile: no handler runs a collective, and no step waits for the device. The
    checkpoint is one from which training goes on exactly: after a step, or after the validation that follows it. Then
    SystemExit is raised, with the code 128 + signal: 143, 130, 138, 129. (The ranks that Lightning started itself
    leave with 0, or it would kill the first one as soon as it sees them gone.)

    A signal during validation waits for its end, one before the first step ends the run as if this callback were not
    there. A second SIGINT ends the process at once. Signals that SLURM's plugin uses to requeue the job stay its own;
    so do signals that are ignored (``nohup``), and those that the application handles itself, but for SIGTERM, where
    both do their part as with Lightning's own handler. With ``strategy="ddp_spawn"`` signals reach the process that
    started the ranks, and not this callback.

    Args:
        dirpath: folder of the checkpoint; None is that of the first ModelCheckpoint, or of the logger.
        filename: its name, without ``.ckpt``.
        patience: seconds. After a signal, a process in which no batch ends and the module is not called for so long is
            ended without a checkpoint, also where it waits for a rank that hangs. With several ranks, a process that is
            stopped or gone for so long (or its machine) ends the others at any time. A rank that lives but never gets
            to its next batch is found by ``DDPStrategy(timeout=...)``, without a signal.
        command: what to type to go on, to which ``--ckpt_path`` is added; None says only which file it is.

    Raises:
        UsageError: for a patience that is not positive.

    Example:
        >>> SaveOnSignal(command=["python", "train.py", "--ckpt_path", "old.ckpt"]).resumed_by("new.ckpt")
        'python train.py --ckpt_path=new.ckpt'
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        *,
        filename: str = "interrupted",
        patience: float = 60.0,
        command: Sequence[str] | None = None,
    ) -> None:
        if not patience > 0:
            raise UsageError(f"SaveOnSignal has patience={patience}, and it must be positive: seconds, such as 60.")
        self.dirpath = dirpath
        self.filename = filename
        self.patience = patience
        self.command = command
        self._received = 0
        self._stop = 0
        self._step = -1
        self._after_step = False
        self._own: dict[int, Any] = {}
        self._before: dict[int, Any] = {}
        self._agreement: Agreement | None = None
        self._watch: Watch | None = None
        self._says = False
        self._module: LightningModule | None = None
        self._hook: Any = None

    def resumed_by(self, path: str | Path) -> str | None:
        """The command that goes on from a checkpoint."""
        if self.command is None:
            return None
        kept: list[str] = []
        skip = False
        for argument in self.command:
            if not skip and argument != "--ckpt_path" and not argument.startswith("--ckpt_path="):
                kept.append(argument)
            skip = argument == "--ckpt_path"
        return shlex.join([*redact(kept), f"--ckpt_path={path}"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # before Lightning takes SIGTERM
            self._before = {number: signal.getsignal(number) for number in _SIGNALS}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Last, so that all that belongs to a batch is done; a new list, since Lightning walks the old one.
        others = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]
        trainer.callbacks = [*others, self]  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._received = self._stop = 0
        self._step = trainer.global_step
        self._after_step = False
        self._says = trainer.is_global_zero
        self._module = pl_module
        self._agreement = Agreement()
        group = group_on_cpu()
        if threading.current_thread() is not threading.main_thread():
            return
        taken = _free_signals(trainer, self._before)
        self._watch = Watch(self.patience, taken, group, lambda code, reason: _end_all(trainer, code, reason))
        self._watch.start()
        self._own = {number: signal.signal(number, self._handle) for number in taken}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._progress()
        self._after_step = trainer.global_step != self._step  # between steps, gradients are accumulated
        self._step = trainer.global_step
        if self._asked() and not (_ends_epoch(trainer, batch_idx) or _validates(trainer, batch_idx)):
            self._leave(trainer)

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self._progress()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._agreement is not None and self._asked():
            self._leave(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._progress()
        # Each batch of such epochs is a last one. From here, Lightning would leave out a longer epoch, or a validation.
        if trainer.num_training_batches == 1 and not trainer.enable_validation and self._asked():
            self._leave(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._after_step = True
        if self._asked() or self._asked():  # nothing comes after it: the ranks' last word
            self._leave(trainer)
        self._close(together=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close(together=False)

    def _progress(self) -> None:
        if self._watch is not None:
            self._watch.progress()

    def _asked(self) -> bool:
        """Whether any rank got a signal; all ranks answer alike, and only where a step is over."""
        if not self._after_step or self._agreement is None:
            return False
        if not self._stop:
            self._stop = self._agreement(self._received)
        return bool(self._stop)

    def _handle(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self._received == number:
            raise KeyboardInterrupt  # where nobody watches; else, the process has ended
        if not self._received and self._says:
            again = "; another SIGINT ends it at once" if number == signal.SIGINT else ""
            line = f"\n{signal.Signals(number).name}: a checkpoint is saved after this step or validation{again}.\n"
            os.write(2, line.encode())
        if not self._received and self._module is not None:  # a callback's own pass, such as a kNN bank, is progress
            self._hook = self._module.register_forward_pre_hook(lambda *_: self._progress())
        self._received = self._received or number
        application: Any = self._before.get(number)
        if application is not None and _is_handler(application):
            application(number, frame)

    def _leave(self, trainer: Trainer) -> None:
        number = self._stop
        path = Path(_folder(trainer) if self.dirpath is None else self.dirpath, f"{self.filename}.ckpt")
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            command = self.resumed_by(path)
            how = f"go on with\n  {command}" if command else f'go on with Trainer.fit(..., ckpt_path="{path}").'
            print(f"{signal.Signals(number).name}: saved {path} after {trainer.global_step:,} steps; {how}", flush=True)
        self._close(together=True)
        raise SystemExit(0 if _is_child(trainer) else 128 + number)

    def _close(self, *, together: bool) -> None:
        for number, handler in self._own.items():
            signal.signal(number, handler)
        self._own = {}
        if self._hook is not None:
            self._hook.remove()
        self._module = self._hook = None
        if self._watch is not None:
            self._watch.close(together=together)
            self._watch = None
        if self._agreement is not None and together:
            self._agreement.close()
        self._agreement = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {
            "_own": {},
            "_before": {},
            "_agreement": None,
            "_watch": None,
            "_module": None,
            "_hook": None,
        }


class _EndedAtOnce:
    """A handler that ends the process by SystemExit, and the ranks that Lightning started with it."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __call__(self, number: int, frame: Any) -> None:
        if (launcher := getattr(self.trainer.strategy, "launcher", None)) is not None:
            launcher.kill(number)
        raise SystemExit(128 + number)


@contextmanager
def ended_by_signals(trainer: Trainer) -> Iterator[None]:
    """Around ``trainer.fit`` of a command line: what ends it before the first step ends it as an error would.

    Python then cleans up, which a signal's default does not let it do.

    Args:
        trainer: about to fit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [n for n in _SIGNALS if n != signal.SIGINT and signal.getsignal(n) == signal.SIG_DFL]
    before = {number: signal.signal(number, _EndedAtOnce(trainer)) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_signals(trainer: Trainer, before: dict[int, Any]) -> list[int]:
    """The signals that neither SLURM's plugin nor the application needs."""
    taken = set()
    environment = _environment(trainer)
    if getattr(environment, "auto_requeue", False):
        taken = {signal.SIGTERM, getattr(environment, "requeue_signal", None)}
    free = (signal.SIG_DFL, signal.default_int_handler)

    def is_free(number: int) -> bool:
        handler = before.get(number, signal.SIG_DFL)
        both = number == signal.SIGTERM and _is_handler(handler)
        return handler in free or isinstance(handler, _EndedAtOnce) or both

    return [number for number in _SIGNALS if number not in taken and is_free(number)]


def _is_handler(handler: Any) -> bool:
    """True for a function of the application's own."""
    ours = handler is signal.default_int_handler or isinstance(handler, _EndedAtOnce | signal.Handlers)
    return callable(handler) and not ours


def _environment(trainer: Trainer) -> Any:
    """Lightning's cluster environment, which a strategy of one device does not know."""
    return getattr(getattr(trainer, "_accelerator_connector", None), "cluster_environment", None)


def _is_child(trainer: Trainer) -> bool:
    """Whether Lightning started this process beside the one that the user did."""
    return type(_environment(trainer)).__name__ == "LightningEnvironment" and trainer.local_rank > 0


def _ends_epoch(trainer: Trainer, batch_idx: int) -> bool:
    is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    return is_last or batch_idx + 1 == trainer.num_training_batches


def _validates(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a validation follows a batch: a run that goes on from there would leave it out."""
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if not trainer.enable_validation or every in (None, float("inf")):
        return False
    if epochs is None:
        return (trainer.fit_loop.total_batch_idx + 1) % every == 0  # type: ignore[no-any-return]
    return (trainer.current_epoch + 1) % epochs == 0 and (batch_idx + 1) % every == 0  # type: ignore[no-any-return]


def _folder(trainer: Trainer) -> str:
    folders = [getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks]
    return next((folder for folder in folders if folder), None) or trainer.log_dir or trainer.default_root_dir


def _end_all(trainer: Trainer, code: int, reason: str) -> None:
    launcher = getattr(trainer.strategy, "launcher", None)
    for process in getattr(launcher, "procs", []):
        process.kill()
    end_process(code, reason)
