"""Losses of self-supervised learning as pure functions: tensors in, scalar out, grouped by family.

They compute in float32 (or float64) whatever autocast says, and gather over ranks where their method does.
"""

from sslbolts.losses.contrastive import matching_accuracy, nt_xent
from sslbolts.losses.regression import byol_regression, negative_cosine

__all__ = ["byol_regression", "matching_accuracy", "negative_cosine", "nt_xent"]
