"""The offline protocols by which the field judges a representation: on a checkpoint, after training."""

from sslbolts.evaluation.detection.detector import Detector
from sslbolts.evaluation.detection.run import evaluate_detection
from sslbolts.evaluation.diagnosis.diagnose import Diagnosis, diagnose
from sslbolts.evaluation.duplicates import Duplicates, find_duplicates
from sslbolts.evaluation.encoder import Encoder, load_encoder
from sslbolts.evaluation.features import Features, features_of
from sslbolts.evaluation.few_label import evaluate_few_label, few_label_rows
from sslbolts.evaluation.fine_tuning.fine_tune import FineTune
from sslbolts.evaluation.fine_tuning.run import evaluate_finetune
from sslbolts.evaluation.fine_tuning.settings import FINE_TUNE_SETTINGS, FineTuneSettings
from sslbolts.evaluation.initialization import initialized
from sslbolts.evaluation.label_efficiency import evaluate_label_efficiency
from sslbolts.evaluation.layers.probe import LayerProbe
from sslbolts.evaluation.layers.run import evaluate_layers
from sslbolts.evaluation.nearest import evaluate_knn, evaluate_ridge
from sslbolts.evaluation.probes.linear import LinearProbe, MLPProbe, probe_views
from sslbolts.evaluation.probes.on_maps import MapProbe
from sslbolts.evaluation.probes.run import evaluate_linear, evaluate_maps, evaluate_mlp
from sslbolts.evaluation.probes.settings import PROBE_SETTINGS, ProbeSettings
from sslbolts.evaluation.result import Result
from sslbolts.evaluation.svm.run import evaluate_svm
from sslbolts.evaluation.transfer.run import evaluate_transfer
from sslbolts.evaluation.transfer.sets import TRANSFER_SETS

__all__ = [
    "FINE_TUNE_SETTINGS",
    "PROBE_SETTINGS",
    "TRANSFER_SETS",
    "Detector",
    "Diagnosis",
    "Duplicates",
    "Encoder",
    "Features",
    "FineTune",
    "FineTuneSettings",
    "LayerProbe",
    "LinearProbe",
    "MLPProbe",
    "MapProbe",
    "ProbeSettings",
    "Result",
    "diagnose",
    "evaluate_detection",
    "evaluate_few_label",
    "evaluate_finetune",
    "evaluate_knn",
    "evaluate_label_efficiency",
    "evaluate_layers",
    "evaluate_linear",
    "evaluate_maps",
    "evaluate_mlp",
    "evaluate_ridge",
    "evaluate_svm",
    "evaluate_transfer",
    "features_of",
    "few_label_rows",
    "find_duplicates",
    "initialized",
    "load_encoder",
    "probe_views",
]
