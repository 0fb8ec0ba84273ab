"""Whether a fit begins a run or goes on with one."""

from sslbolts._lightning import Trainer

__all__ = ["starts_afresh"]


def starts_afresh(trainer: Trainer) -> bool:
    """Whether the fit that starts continues no other: neither this Trainer's last one nor one from a checkpoint."""
    return bool(trainer.global_step == 0 and trainer.ckpt_path is None)
