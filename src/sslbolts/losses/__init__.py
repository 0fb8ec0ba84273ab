"""Losses of self-supervised learning as pure functions: tensors in, scalar out, grouped by family.

They compute in float32 (or float64) whatever autocast says, and gather over ranks where their method does. A wrong
shape or word is refused; temperatures and weights are a method's to check, and may be tensors that learn.
"""

from sslbolts.losses.adversarial import adversarial
from sslbolts.losses.amdim import amdim
from sslbolts.losses.bag_of_words import bag_of_words
from sslbolts.losses.clustering import deepcluster_v2, sinkhorn, swapped_prediction
from sslbolts.losses.colorization import colorization, split_brain
from sslbolts.losses.consistency import consistency, labeled_cross_entropy
from sslbolts.losses.contrastive import margin_triplet, matching_accuracy, nt_logistic, nt_xent
from sslbolts.losses.counting import counting
from sslbolts.losses.cpc import cpc
from sslbolts.losses.decorrelation import barlow_twins, vicreg
from sslbolts.losses.denoising import denoising
from sslbolts.losses.dino import dino
from sslbolts.losses.inpainting import context_encoder, masked_mse
from sslbolts.losses.instance import instance_nce, instance_softmax
from sslbolts.losses.metric_learning import batch_hard_triplet, pairwise_contrastive, semi_hard_triplet, triplet
from sslbolts.losses.momentum_contrast import info_nce, moco_v3_contrastive
from sslbolts.losses.reconstruction import masked_patches, masked_pixels
from sslbolts.losses.regression import byol_regression, negative_cosine
from sslbolts.losses.semi_supervised import (
    joint_loss,
    mean_of_two_cross_entropies,
    prediction_entropy,
    virtual_adversarial,
)
from sslbolts.losses.text import masked_tokens, negative_sampling
from sslbolts.losses.time_contrast import n_pairs, pair_triplet, time_contrastive
from sslbolts.losses.whitening import w_mse

__all__ = [
    "adversarial",
    "amdim",
    "bag_of_words",
    "barlow_twins",
    "batch_hard_triplet",
    "byol_regression",
    "colorization",
    "consistency",
    "context_encoder",
    "counting",
    "cpc",
    "deepcluster_v2",
    "denoising",
    "dino",
    "info_nce",
    "instance_nce",
    "instance_softmax",
    "joint_loss",
    "labeled_cross_entropy",
    "margin_triplet",
    "masked_mse",
    "masked_patches",
    "masked_pixels",
    "masked_tokens",
    "matching_accuracy",
    "mean_of_two_cross_entropies",
    "moco_v3_contrastive",
    "n_pairs",
    "negative_cosine",
    "negative_sampling",
    "nt_logistic",
    "nt_xent",
    "pair_triplet",
    "pairwise_contrastive",
    "prediction_entropy",
    "semi_hard_triplet",
    "sinkhorn",
    "split_brain",
    "swapped_prediction",
    "time_contrastive",
    "triplet",
    "vicreg",
    "virtual_adversarial",
    "w_mse",
]
