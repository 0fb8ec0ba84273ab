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
    from sslbolts.methods.masked.simmim import SimMIM as SimMIM
    from sslbolts.methods.pretext.bigan import BiGAN as BiGAN
    from sslbolts.methods.pretext.colorization import Colorization as Colorization
    from sslbolts.methods.pretext.context_encoder import ContextEncoder as ContextEncoder
    from sslbolts.methods.pretext.counting import Counting as Counting
    from sslbolts.methods.pretext.denoising_autoencoder import DenoisingAutoencoder as DenoisingAutoencoder
    from sslbolts.methods.pretext.exemplar import Exemplar as Exemplar
    from sslbolts.methods.pretext.jigsaw import Jigsaw as Jigsaw
    from sslbolts.methods.pretext.multi_task import MultiTask as MultiTask
    from sslbolts.methods.pretext.relative_position import RelativePosition as RelativePosition
    from sslbolts.methods.pretext.rotnet import RotNet as RotNet
    from sslbolts.methods.pretext.split_brain import SplitBrain as SplitBrain
    from sslbolts.methods.semi_supervised.semi_supervised import SemiSupervised as SemiSupervised
    from sslbolts.methods.teacher_student.bownet import BoWNet as BoWNet
    from sslbolts.methods.teacher_student.byol import BYOL as BYOL
    from sslbolts.methods.teacher_student.dino import DINO as DINO
    from sslbolts.methods.teacher_student.distillation import Distillation as Distillation
    from sslbolts.methods.teacher_student.mean_teacher import MeanTeacher as MeanTeacher
    from sslbolts.methods.teacher_student.obow import OBoW as OBoW
    from sslbolts.methods.teacher_student.simsiam import SimSiam as SimSiam
    from sslbolts.methods.text.masked_language_model import MaskedLanguageModel as MaskedLanguageModel
    from sslbolts.methods.text.word2vec import Word2Vec as Word2Vec
    from sslbolts.methods.video.time_contrastive import TimeContrastive as TimeContrastive

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
