"""Optimizers, schedules as pure functions of the step, and parameter groups."""

from sslbolts.optim.groups import parameter_groups
from sslbolts.optim.lars import LARS
from sslbolts.optim.scheduler import Schedule, WarmupCosine
from sslbolts.optim.schedules import cosine, warmup_cosine, warmup_steps
from sslbolts.optim.spec import OptimizerCallable, OptimizerSpec

__all__ = [
    "LARS",
    "OptimizerCallable",
    "OptimizerSpec",
    "Schedule",
    "WarmupCosine",
    "cosine",
    "parameter_groups",
    "warmup_cosine",
    "warmup_steps",
]
