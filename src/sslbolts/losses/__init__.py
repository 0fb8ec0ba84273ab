"""Losses of self-supervised learning as pure functions: tensors in, scalar out, grouped by family.

They compute in float32 (or float64) whatever autocast says, and gather over ranks where their method does. A wrong
shape or word is refused; temperatures and weights are a method's to check, and may be tensors that learn.
"""

from sslbolts.losses.amdim import amdim
from sslbolts.losses.bag_of_words import bag_of_words
from sslbolts.losses.clustering import deepcluster_v2, sinkhorn, swapped_prediction
from sslbolts.losses.colorization import colorization, split_brain
from sslbolts.losses.consistency import consistency, labeled_cross_entropy
from sslbolts.losses.contrastive import margin_triplet, matching_accuracy, nt_logistic, nt_xent
from sslbolts.losses.cpc import cpc
from sslbolts.losses.decorrelation import barlow_twins, vicreg
from sslbolts.losses.dino import dino
from sslbolts.losses.instance import instance_nce, instance_softmax
from sslbolts.losses.metric_learning import pairwise_contrastive, semi_hard_triplet, triplet
from sslbolts.losses.momentum_contrast import info_nce, moco_v3_contrastive
from sslbolts.losses.reconstruction import masked_patches
from sslbolts.losses.regression import byol_regression, negative_cosine
from sslbolts.losses.whitening import w_mse

__all__ = [
    "amdim",
    "bag_of_words",
    "barlow_twins",
    "byol_regression",
    "colorization",
    "consistency",
    "cpc",
    "deepcluster_v2",
    "dino",
    "info_nce",
    "instance_nce",
    "instance_softmax",
    "labeled_cross_entropy",
    "margin_triplet",
    "masked_patches",
    "matching_accuracy",
    "moco_v3_contrastive",
    "negative_cosine",
    "nt_logistic",
    "nt_xent",
    "pairwise_contrastive",
    "semi_hard_triplet",
    "sinkhorn",
    "split_brain",
    "swapped_prediction",
    "triplet",
    "vicreg",
    "w_mse",
]
