"""Self-supervised learning of image representations with PyTorch Lightning.

>>> from sslbolts import SimCLR
>>> from sslbolts.callbacks import KNNMonitor, OnlineLinearProbe
>>> from sslbolts.data import CIFAR10MiniDataModule
"""

from typing import TYPE_CHECKING, Any

from sslbolts.errors import UsageError
from sslbolts.methods.registry import METHODS

if TYPE_CHECKING:  # so that editors and type checkers know the arguments of what __getattr__ gives
    from sslbolts.export import export_backbone as export_backbone
    from sslbolts.export import load_backbone as load_backbone
    from sslbolts.methods.base import SSLModule as SSLModule
    from sslbolts.methods.clustering.deepcluster import DeepCluster as DeepCluster
    from sslbolts.methods.clustering.deepcluster_v2 import DeepClusterV2 as DeepClusterV2
    from sslbolts.methods.clustering.swav import SwAV as SwAV
    from sslbolts.methods.contrastive.amdim import AMDIM as AMDIM
    from sslbolts.methods.contrastive.cpc import CPC as CPC
    from sslbolts.methods.contrastive.instance_discrimination import InstanceDiscrimination as InstanceDiscrimination
    from sslbolts.methods.contrastive.moco import MoCo as MoCo
    from sslbolts.methods.contrastive.moco_v3 import MoCoV3 as MoCoV3
    from sslbolts.methods.contrastive.simclr import SimCLR as SimCLR
    from sslbolts.methods.decorrelation.barlow_twins import BarlowTwins as BarlowTwins
    from sslbolts.methods.decorrelation.vicreg import VICReg as VICReg
    from sslbolts.methods.decorrelation.wmse import WMSE as WMSE
    from sslbolts.methods.masked.mae import MAE as MAE
    from sslbolts.methods.pretext.colorization import Colorization as Colorization
    from sslbolts.methods.pretext.split_brain import SplitBrain as SplitBrain
    from sslbolts.methods.teacher_student.bownet import BoWNet as BoWNet
    from sslbolts.methods.teacher_student.byol import BYOL as BYOL
    from sslbolts.methods.teacher_student.dino import DINO as DINO
    from sslbolts.methods.teacher_student.distillation import Distillation as Distillation
    from sslbolts.methods.teacher_student.mean_teacher import MeanTeacher as MeanTeacher
    from sslbolts.methods.teacher_student.obow import OBoW as OBoW
    from sslbolts.methods.teacher_student.simsiam import SimSiam as SimSiam

__version__ = "0.1.0"
__all__ = ["METHODS", "SSLModule", "UsageError", "__version__", "export_backbone", "load_backbone", *METHODS]


def __getattr__(name: str) -> Any:
    # Methods are imported when they are asked for, so that importing sslbolts costs next to nothing.
    if name in METHODS or name == "SSLModule":
        import sslbolts.methods

        return getattr(sslbolts.methods, name)
    if name in ("export_backbone", "load_backbone"):
        import sslbolts.export

        return getattr(sslbolts.export, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
