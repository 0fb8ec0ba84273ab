"""The offline protocols by which the field judges a representation: on a checkpoint, after training."""

from sslbolts.evaluation.encoder import Encoder, load_encoder
from sslbolts.evaluation.features import Features, features_of
from sslbolts.evaluation.result import Result

__all__ = [
    "Encoder",
    "Features",
    "Result",
    "features_of",
    "load_encoder",
]
