"""The offline protocols by which the field judges a representation: on a checkpoint, after training."""

from sslbolts.evaluation.encoder import Encoder, load_encoder
from sslbolts.evaluation.features import Features, features_of
from sslbolts.evaluation.few_label import evaluate_few_label, few_label_rows
from sslbolts.evaluation.linear_probe import LinearProbe, MLPProbe, probe_views
from sslbolts.evaluation.nearest import evaluate_knn, evaluate_ridge
from sslbolts.evaluation.probe_runs import evaluate_linear, evaluate_mlp
from sslbolts.evaluation.recipes import PROBE_RECIPES, ProbeRecipe
from sslbolts.evaluation.result import Result

__all__ = [
    "PROBE_RECIPES",
    "Encoder",
    "Features",
    "LinearProbe",
    "MLPProbe",
    "ProbeRecipe",
    "Result",
    "evaluate_few_label",
    "evaluate_knn",
    "evaluate_linear",
    "evaluate_mlp",
    "evaluate_ridge",
    "features_of",
    "few_label_rows",
    "load_encoder",
    "probe_views",
]
