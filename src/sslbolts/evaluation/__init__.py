"""The offline protocols by which the field judges a representation: on a checkpoint, after training."""

from sslbolts.evaluation.encoder import Encoder, load_encoder
from sslbolts.evaluation.features import Features, features_of
from sslbolts.evaluation.nearest import evaluate_knn, evaluate_ridge
from sslbolts.evaluation.result import Result

__all__ = [
    "Encoder",
    "Features",
    "Result",
    "evaluate_knn",
    "evaluate_ridge",
    "features_of",
    "load_encoder",
]
