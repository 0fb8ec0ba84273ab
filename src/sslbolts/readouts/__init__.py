"""Pure functions on features: how good a representation is, without training a network on it."""

from sslbolts.readouts.attention import attention_mask
from sslbolts.readouts.auc import area_under_roc, areas_under_roc
from sslbolts.readouts.clustering import (
    adjusted_rand_index,
    matched_accuracy,
    normalized_mutual_information,
    purity,
)
from sslbolts.readouts.confusion import class_accuracies, confusion_matrix
from sslbolts.readouts.geometry import alignment, class_separation, normalized_std, uniformity
from sslbolts.readouts.knn import knn_predict, nearest_neighbors, neighbor_shares, neighbor_votes
from sslbolts.readouts.near_duplicates import groups_of, near_duplicates
from sslbolts.readouts.precision import average_precisions, mean_average_precision
from sslbolts.readouts.rank import effective_rank, rankme
from sslbolts.readouts.ridge import RIDGE_PENALTIES, RidgeReadout, ridge_classifier, ridge_of_several

__all__ = [
    "RIDGE_PENALTIES",
    "RidgeReadout",
    "adjusted_rand_index",
    "alignment",
    "area_under_roc",
    "areas_under_roc",
    "attention_mask",
    "average_precisions",
    "class_accuracies",
    "class_separation",
    "confusion_matrix",
    "effective_rank",
    "groups_of",
    "knn_predict",
    "matched_accuracy",
    "mean_average_precision",
    "near_duplicates",
    "nearest_neighbors",
    "neighbor_shares",
    "neighbor_votes",
    "normalized_mutual_information",
    "normalized_std",
    "purity",
    "rankme",
    "ridge_classifier",
    "ridge_of_several",
    "uniformity",
]
