"""A table of the names under which other libraries' checkpoints keep their backbones."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sslbolts.errors import UsageError, did_you_mean
from sslbolts.networks.backbones import Stem

__all__ = ["LAYOUTS", "Layout", "get_layout"]


@dataclass(frozen=True)
class Layout:
    """The place of the backbone in a checkpoint, after ``module.`` and ``_orig_mod.`` are taken off all names.

    Attributes:
        name: by which it is chosen, ``load_backbone(path, layout=name)``.
        source: whose checkpoints look so.
        student: what the names of the backbone begin with.
        teacher: what those of the teacher's begin with; None where there is none.
        needs: patterns, each of which the beginning of some name must match: by these the layout is recognized.
        under: entries of the file, of which one holds the student's tensors; "" is the file itself.
        under_teacher: the entry that holds the teacher's tensors; None is the same.
        heads: what the names of other things inside the backbone begin with; they are left out, unless they are tensors
            of the network that is filled.
        small_stem: the stem, where the first convolution is 3x3; None where files of different stems look so.
        heads_of_vit: attention heads of transformers by their width, where they are not the usual ones (0: they differ
            from file to file).
        hparam: a hyperparameter that its checkpoints have.
        arch: values of which the file's entry "arch" must be one.
        imagenet: whether images are of 224 pixels, normalized with ImageNet's statistics.
        note: what one should know about it.
    """

    name: str
    source: str
    student: str
    teacher: str | None = None
    needs: tuple[str, ...] = ()
    under: tuple[str, ...] = ("state_dict",)
    under_teacher: str | None = None
    heads: tuple[str, ...] = ("fc.", "head.", "heads.", "classifier.")
    small_stem: Stem | None = "cifar"
    heads_of_vit: Mapping[int, int] | None = None
    hparam: str | None = None
    arch: tuple[str, ...] = ()
    imagenet: bool = False
    note: str = ""

    def fits(self, names: Iterable[str], hparams: Mapping[str, Any], arch: Any = None) -> bool:
        """True for tensors of these names, saved with these hyperparameters and this "arch"."""
        names = list(names)
        needs = (re.escape(self.student), *self.needs)
        return (
            (self.hparam is None or self.hparam in hparams)
            and (not self.arch or arch in self.arch)
            and all(any(re.match(pattern, name) for name in names) for pattern in needs)
        )


_ANY = ("state_dict", "model", "")
_NETWORK = r"(conv1|patch_embed\.proj|features\.0|stem|conv_stem|conv_proj|0)\."  # how a bare network begins
_SOLO = r"projector\.|decoder\.|momentum_(backbone|encoder|classifier)\."  # one of these is in all of its methods
_UNSAID = "how images were normalized is not in it: sslbolts export --normalize imagenet writes a file that says so"
_PADS_2 = "its 3x3 first convolution pads 2: maps of 34x34 from images of 32x32"

# The first that fits is taken, so those that ask for more stand first.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        # ------------------------------------------------------------------------------ lightning-bolts 0.7
        Layout("bolts-simclr", "lightning-bolts SimCLR", "encoder.", needs=(r"projection\.model\.",)),
        Layout(
            "bolts-simsiam",
            "lightning-bolts SimSiam",
            "online_network.encoder.",
            needs=(r"predictor\.model\.", r"target_network\."),
            hparam="predictor_hidden_dim",
            note="its target_network is the untrained network: it is never updated there",
        ),
        Layout(
            "bolts-byol",
            "lightning-bolts BYOL",
            "online_network.encoder.",
            "target_network.encoder.",
            needs=(r"predictor\.model\.",),
        ),
        Layout(
            "bolts-swav",
            "lightning-bolts SwAV",
            "model.",
            needs=(r"model\.prototypes",),
            heads=("projection_head", "prototypes"),
            small_stem="cifar_pad2",
            note=_PADS_2,
        ),
        Layout(
            "bolts-moco",
            "lightning-bolts Moco_v2",
            "encoder_q.",
            "encoder_k.",
            needs=(r"val_queue|queue\.representations",),
        ),
        # ------------------------------------------------------------------------------ solo-learn
        Layout(
            "solo-learn-mae",
            "solo-learn MAE",
            "backbone.",
            needs=(r"classifier\.(weight|bias)", r"decoder\.decoder_embed\."),
            heads_of_vit={192: 12, 384: 12},
            note="its ViTs of width 192 and 384 have 12 attention heads",
        ),
        Layout(
            "solo-learn",
            "solo-learn",
            "backbone.",
            "momentum_backbone.",
            needs=(r"classifier\.(weight|bias)", _SOLO),
            small_stem="cifar_pad2",
            heads_of_vit={192: 0, 384: 0},
            note=_PADS_2,
        ),
        Layout(
            "solo-learn-old",
            "solo-learn before its encoder was called backbone",
            "encoder.",
            "momentum_encoder.",
            needs=(r"classifier\.(weight|bias)", _SOLO),
            small_stem="cifar_pad2",
            heads_of_vit={192: 0, 384: 0},
            note=_PADS_2,
        ),
        Layout(
            "backbone-classifier",
            "solo-learn's linear evaluation, or any module with a backbone and a classifier",
            "backbone.",
            needs=(r"classifier\.(weight|bias)",),
            small_stem=None,
            heads_of_vit={192: 0, 384: 0},
        ),
        # ------------------------------------------------------------------------------ lightly's examples
        Layout("lightly-msn", "lightly's MSN", "anchor_backbone.", "backbone.", (r"backbone\.",)),
        Layout("lightly-teacher", "lightly's DINO and others", "student_backbone.", "teacher_backbone."),
        Layout("lightly-byol", "lightly's BYOL and MoCo", "backbone.", "backbone_momentum.", (r"backbone_momentum\.",)),
        Layout("lightly", "lightly", "backbone.", needs=(r"projection_head\.|backbone\.(0|vit)\.",)),
        # ------------------------------------------------------------------------------ official releases
        Layout("moco", "MoCo v1 and v2", "encoder_q.", "encoder_k.", imagenet=True),
        Layout(
            "moco-v3",
            "MoCo v3",
            "base_encoder.",
            "momentum_encoder.",
            heads_of_vit={384: 12},
            imagenet=True,
            note="its ViT-S has 12 attention heads",
        ),
        Layout(
            "moco-v3-linear",
            "MoCo v3's linear evaluation",
            "",
            needs=(r"patch_embed\.proj\.",),
            heads_of_vit={384: 12},
            arch=("vit_small", "vit_base", "vit_conv_small", "vit_conv_base"),
            imagenet=True,
            note="its ViT-S has 12 attention heads",
        ),
        Layout("simsiam", "SimSiam", "encoder.", needs=(r"predictor\.",), imagenet=True),
        Layout(
            "dino",
            "DINO",
            "backbone.",
            "backbone.",
            (r"head\.",),
            under=("student", "teacher"),
            under_teacher="teacher",
            imagenet=True,
        ),
        Layout(
            "swav",
            "SwAV and DeepCluster-v2",
            "",
            needs=(r"projection_head", r"prototypes", r"conv1\."),
            under=_ANY,
            heads=("projection_head", "prototypes"),
            imagenet=True,
        ),
        Layout(
            "barlow-vicreg",
            "Barlow Twins and VICReg",
            "backbone.",
            needs=(r"projector\.",),
            under=("model",),
            imagenet=True,
        ),
        Layout(
            "mae",
            "MAE",
            "",
            needs=(r"mask_token|decoder_", r"patch_embed\.proj"),
            under=_ANY,
            heads=("mask_token", "decoder_"),
            imagenet=True,
        ),
        # ------------------------------------------------------------------------------ ports of BYOL
        Layout("byol-pytorch", "byol-pytorch", "online_encoder.net.", "target_encoder.net.", under=_ANY),
        Layout("byol-pytorch-learner", "byol-pytorch in a Trainer", "learner.online_encoder.net.",
               "learner.target_encoder.net.", under=_ANY),
        Layout(
            "pytorch-byol",
            "PyTorch-BYOL",
            "encoder.",
            "encoder.",
            under=("online_network_state_dict",),
            under_teacher="target_network_state_dict",
            heads=("projetion", "projection"),
        ),
        # ------------------------------------------------------------------------------ anything plain
        Layout("backbone", "any module with a backbone", "backbone.", under=_ANY),
        Layout("plain", "a network alone, under timm's or torchvision's names", "", needs=(_NETWORK,), under=_ANY,
               note=_UNSAID),
    )
}  # fmt: skip


def get_layout(name: str) -> Layout:
    """The layout of a name.

    Raises:
        UsageError: if there is none.

    Example:
        >>> get_layout("moco-v3").student
        'base_encoder.'
    """
    if name not in LAYOUTS:
        raise UsageError(
            f'there is no layout "{name}".{did_you_mean(name, LAYOUTS)} It is one of {", ".join(LAYOUTS)}.'
        )
    return LAYOUTS[name]
