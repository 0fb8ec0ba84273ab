"""Views of images: the papers' augmentations as recipes, and their making, batched or crop by crop in workers."""

from sslbolts.transforms.allocator import tune_malloc
from sslbolts.transforms.batched import BatchedAugment, BatchedEvaluate
from sslbolts.transforms.channels import color_channels
from sslbolts.transforms.crops import center_crop, random_crops
from sslbolts.transforms.papers import RECIPES, evaluation, recipe
from sslbolts.transforms.recipes import Evaluation, MultiCrop, MultiView, TransformsView, View

__all__ = [
    "RECIPES",
    "BatchedAugment",
    "BatchedEvaluate",
    "Evaluation",
    "MultiCrop",
    "MultiView",
    "TransformsView",
    "View",
    "center_crop",
    "color_channels",
    "evaluation",
    "random_crops",
    "recipe",
    "tune_malloc",
]
