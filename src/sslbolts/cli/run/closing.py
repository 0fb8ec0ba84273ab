"""The last lines of a training: what was learned, judged how, where it stands, and the next two commands."""

import shlex
from pathlib import Path

from sslbolts._lightning import LightningModule, Trainer, lightning_module
from sslbolts.methods.registry import METHODS
from sslbolts.report.verdict import verdict
from sslbolts.training.rows import first_loader, length_of

__all__ = ["closing_lines"]


def closing_lines(trainer: Trainer, module: LightningModule) -> list[str]:
    """Five lines on a run that has ended, or fewer where it kept no checkpoint or wrote no log.

    All ranks must call it: the loggers tell each other the folder.
    """
    images = length_of(getattr(first_loader(trainer.train_dataloader), "dataset", None))
    on = f" on {images:,} images" if images else ""
    method = type(module).__name__
    found = verdict({name: float(value) for name, value in trainer.callback_metrics.items()}, method)
    lines = [
        f"{method} has trained for {trainer.current_epoch:,} epochs, {trainer.global_step:,} steps{on}.",
        f"Judged: {found.line} {found.advice}".rstrip(),
    ]
    checkpoint = _checkpoint(trainer)
    folder = trainer.log_dir
    places = [f"checkpoint {checkpoint}"] if checkpoint else []
    places += [f"metrics and pictures in {folder}"] if folder else []
    if places:
        lines.append(f"Kept: {', '.join(places)}.")
    if folder:
        lines.append(f"  sslbolts report {shlex.quote(str(folder))}")
    of_text = method in METHODS and METHODS[method].learns_from == "text"  # which export is not for
    if checkpoint and not of_text:
        lines.append(f"  sslbolts export {shlex.quote(checkpoint)} backbone.safetensors")
    return lines


def _checkpoint(trainer: Trainer) -> str | None:
    """The last checkpoint of the run, relative to where the user is."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, lightning_module("callbacks").ModelCheckpoint):
            path = callback.last_model_path or callback.best_model_path
            if path:
                place = Path(path).resolve()
                here = Path.cwd().resolve()
                return str(place.relative_to(here) if place.is_relative_to(here) else place)
    return None
