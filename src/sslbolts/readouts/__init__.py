"""Pure functions on features: how good a representation is, without training a network on it."""

from sslbolts.readouts.attention import attention_mask
from sslbolts.readouts.clustering import normalized_mutual_information
from sslbolts.readouts.geometry import alignment, class_separation, normalized_std, uniformity
from sslbolts.readouts.knn import knn_predict
from sslbolts.readouts.rank import effective_rank, rankme
from sslbolts.readouts.ridge import RIDGE_PENALTIES, RidgeReadout, ridge_classifier

__all__ = [
    "RIDGE_PENALTIES",
    "RidgeReadout",
    "alignment",
    "attention_mask",
    "class_separation",
    "effective_rank",
    "knn_predict",
    "normalized_mutual_information",
    "normalized_std",
    "rankme",
    "ridge_classifier",
    "uniformity",
]
