"""Optimizers, schedules as pure functions of the step, and parameter groups."""

from sslbolts.optim.bert_adam import BertAdam
from sslbolts.optim.clipping import clip_each_
from sslbolts.optim.groups import parameter_groups
from sslbolts.optim.larc import LARC
from sslbolts.optim.lars import LARS
from sslbolts.optim.scheduler import Schedule, WarmupCosine
from sslbolts.optim.schedules import (
    cosine,
    hold_and_decay,
    linear_decay,
    sigmoid_ramp,
    warmup_cosine,
    warmup_steps,
)
from sslbolts.optim.spec import OptimizerCallable, OptimizerSpec

__all__ = [
    "LARC",
    "LARS",
    "BertAdam",
    "OptimizerCallable",
    "OptimizerSpec",
    "Schedule",
    "WarmupCosine",
    "clip_each_",
    "cosine",
    "hold_and_decay",
    "linear_decay",
    "parameter_groups",
    "sigmoid_ramp",
    "warmup_cosine",
    "warmup_steps",
]
