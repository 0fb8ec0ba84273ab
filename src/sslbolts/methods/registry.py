"""Every method of the collection, one line each: what it is, what it needs, where it comes from."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sslbolts.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from sslbolts.methods.base import SSLModule

__all__ = ["METHODS", "Method", "get_method"]


@dataclass(frozen=True)
class Method:
    """A line of the table of methods.

    Attributes:
        module: where the class is, below ``sslbolts.methods``; its first part is the method's family.
        views: the view recipe of its paper, a name in ``sslbolts.transforms.RECIPES``; empty for text.
        needs: what its results depend on.
        paper: authors, year and arXiv id.
        published: the paper's ImageNet linear top-1, with a ResNet-50 unless it says otherwise; empty where it has
            none. A dagger marks a figure that is quoted from memory and was not verified.
        learns_from: the kind of its data. Monitors and protocols for images, views and export to other libraries are
            not for text.
    """

    module: str
    views: str
    needs: str
    paper: str
    published: str
    learns_from: Literal["images", "text"] = "images"

    @property
    def family(self) -> str:
        return self.module.partition(".")[0]


METHODS: dict[str, Method] = {
    "SimCLR": Method(
        "contrastive.simclr", "simclr", "large batch", "Chen et al. 2020, arXiv:2002.05709", "69.3 (1000 ep)"
    ),
    "MoCo": Method(
        "contrastive.moco",
        "moco_v2",
        "queue, EMA teacher",
        "He et al. 2020, arXiv:1911.05722; v2: Chen et al. 2020, arXiv:2003.04297",
        "71.1 (v2, 800 ep)",
    ),
    "MoCoV3": Method(
        "contrastive.moco_v3",
        "moco_v3_resnet",
        "large batch, EMA teacher",
        "Chen et al. 2021, arXiv:2104.02057",
        "74.6 (1000 ep)",
    ),
    "InstanceDiscrimination": Method(
        "contrastive.instance_discrimination",
        "npid",
        "memory of all images",
        "Wu et al. 2018, arXiv:1805.01978",
        "54.0 (200 ep) †",
    ),
    "CPC": Method(
        "contrastive.cpc",
        "cpc",
        "no batch norm, large batch",
        "Hénaff et al. 2020, arXiv:1905.09272",
        "63.8 (200 ep) †",
    ),
    "AMDIM": Method(
        "contrastive.amdim",
        "amdim",
        "its own network, large batch",
        "Bachman et al. 2019, arXiv:1906.00910",
        "68.1 (own network of 626 M)",
    ),
    "BYOL": Method(
        "teacher_student.byol", "byol", "EMA teacher", "Grill et al. 2020, arXiv:2006.07733", "74.3 (1000 ep)"
    ),
    "SimSiam": Method(
        "teacher_student.simsiam",
        "simsiam",
        "batch of 256 or more",
        "Chen and He 2021, arXiv:2011.10566",
        "68.3 (100 ep)",
    ),
    "DINO": Method(
        "teacher_student.dino",
        "dino",
        "small crops, EMA teacher",
        "Caron et al. 2021, arXiv:2104.14294",
        "75.3 (800 ep, release of another recipe)",
    ),
    "OBoW": Method(
        "teacher_student.obow",
        "obow",
        "small crops, vocabulary queue, EMA teacher",
        "Gidaris et al. 2020, arXiv:2012.11552",
        "73.8 (200 ep)",
    ),
    "BoWNet": Method(
        "teacher_student.bownet",
        "bownet",
        "a trained teacher",
        "Gidaris et al. 2020, arXiv:2002.12247",
        "62.1 (325 ep) †",
    ),
    "MeanTeacher": Method(
        "teacher_student.mean_teacher",
        "mean_teacher",
        "some labels, EMA teacher",
        "Tarvainen and Valpola 2017, arXiv:1703.01780",
        "",
    ),
    "Distillation": Method(
        "teacher_student.distillation",
        "simreg",
        "a trained teacher",
        "Navaneet et al. 2021, arXiv:2201.05131",
        "",
    ),
    "BarlowTwins": Method(
        "decorrelation.barlow_twins",
        "barlow_twins",
        "wide projector",
        "Zbontar et al. 2021, arXiv:2103.03230",
        "73.2 (1000 ep)",
    ),
    "VICReg": Method(
        "decorrelation.vicreg", "vicreg", "wide projector", "Bardes et al. 2022, arXiv:2105.04906", "73.2 (1000 ep)"
    ),
    "WMSE": Method(
        "decorrelation.wmse",
        "wmse",
        "batch above twice the width",
        "Ermolov et al. 2021, arXiv:2007.06346",
        "",
    ),
    "DeepCluster": Method(
        "clustering.deepcluster",
        "deepcluster",
        "a pass over all images in every epoch",
        "Caron et al. 2018, arXiv:1807.05520",
        "",
    ),
    "SwAV": Method(
        "clustering.swav",
        "swav",
        "small crops; a queue for small batches",
        "Caron et al. 2020, arXiv:2006.09882",
        "75.3 (800 ep)",
    ),
    "DeepClusterV2": Method(
        "clustering.deepcluster_v2",
        "deepcluster_v2",
        "small crops; all embeddings in memory",
        "Caron et al. 2020, arXiv:2006.09882",
        "75.2 (800 ep)",
    ),
    "MAE": Method(
        "masked.mae",
        "mae",
        "a vision transformer, long training",
        "He et al. 2022, arXiv:2111.06377",
        "67.8 (ViT-B)",
    ),
    "SimMIM": Method(
        "masked.simmim",
        "simmim",
        "a vision transformer or Swin, long training",
        "Xie et al. 2022, arXiv:2111.09886",
        "",
    ),
    "RelativePosition": Method(
        "pretext.relative_position",
        "relative_position",
        "images large enough for patches with gaps",
        "Doersch et al. 2015, arXiv:1505.05192",
        "51.4 (best of revisiting)",
    ),
    "Jigsaw": Method(
        "pretext.jigsaw",
        "jigsaw",
        "images large enough for tiles with gaps",
        "Noroozi and Favaro 2016, arXiv:1603.09246",
        "48.6 (VISSL, 105 ep)",
    ),
    "RotNet": Method(
        "pretext.rotnet",
        "rotnet",
        "images that have an upper side",
        "Gidaris et al. 2018, arXiv:1803.07728",
        "48.2 (105 ep, VISSL)",
    ),
    "Colorization": Method(
        "pretext.colorization",
        "colorization",
        "color images in [0, 1]",
        "Zhang et al. 2016, arXiv:1603.08511",
        "40.1 (best layer, Goyal et al. 2019)",
    ),
    "SplitBrain": Method(
        "pretext.split_brain",
        "split_brain",
        "color images in [0, 1]; two networks",
        "Zhang et al. 2017, arXiv:1611.09842",
        "",
    ),
    "ContextEncoder": Method(
        "pretext.context_encoder",
        "context_encoder",
        "its own network, long training",
        "Pathak et al. 2016, arXiv:1604.07379",
        "",
    ),
    "DenoisingAutoencoder": Method(
        "pretext.denoising_autoencoder",
        "denoising_autoencoder",
        "images in [0, 1]",
        "Vincent et al. 2010, JMLR 11",
        "",
    ),
    "Counting": Method("pretext.counting", "counting", "nothing", "Noroozi et al. 2017, arXiv:1708.06734", ""),
    "Exemplar": Method(
        "pretext.exemplar",
        "exemplar",
        "many views of each image",
        "Dosovitskiy et al. 2014, arXiv:1406.6909",
        "",
    ),
    "BiGAN": Method(
        "pretext.bigan",
        "bigan",
        "its own networks, images of 64 pixels",
        "Donahue et al. 2017, arXiv:1605.09782",
        "",
    ),
    "MultiTask": Method(
        "pretext.multi_task",
        "multi_task",
        "several methods over one network",
        "Doersch and Zisserman 2017, arXiv:1708.07860",
        "",
    ),
    "TimeContrastive": Method(
        "video.time_contrastive",
        "tcn",
        "videos, or frames of two views",
        "Sermanet et al. 2018, arXiv:1704.06888; triplets of pairs: Wang and Gupta 2015, arXiv:1505.00687",
        "",
    ),
    "Word2Vec": Method(
        "text.word2vec",
        "",
        "text",
        "Mikolov et al. 2013, arXiv:1301.3781 and arXiv:1310.4546",
        "",
        learns_from="text",
    ),
    "MaskedLanguageModel": Method(
        "text.masked_language_model",
        "",
        "text",
        "Devlin et al. 2019, arXiv:1810.04805",
        "",
        learns_from="text",
    ),
    "SemiSupervised": Method(
        "semi_supervised.semi_supervised",
        "s4l",
        "some labels; another method beside",
        "Zhai et al. 2019, arXiv:1905.03670",
        "",
    ),
}
"""Name of the class -> its line. A new method is one file, one line here and one YAML in configs/."""


def get_method(name: str) -> "type[SSLModule]":
    """The class of a method.

    Raises:
        UsageError: for an unknown name; it suggests the nearest.

    Example:
        >>> get_method("SimCLR").__name__
        'SimCLR'
    """
    if name not in METHODS:
        raise UsageError(
            f"there is no method {name!r}.{did_you_mean(name, METHODS)} `sslbolts methods` lists them: "
            f"{', '.join(METHODS)}."
        )
    module = importlib.import_module(f"sslbolts.methods.{METHODS[name].module}")
    method: type[SSLModule] = getattr(module, name)
    return method
