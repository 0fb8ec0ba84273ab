"""AMDIM: augmented multiscale deep infomax."""

import inspect
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor
from torch.optim import Adam

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least, positive
from sslbolts.errors import UsageError
from sslbolts.health import accuracy_over_chance
from sslbolts.losses import amdim, matching_accuracy
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.networks.backbones import BackboneLike
from sslbolts.optim import OptimizerCallable
from sslbolts.training.shared_draws import integers

__all__ = ["AMDIM"]


class AMDIM(SSLModule):
    r"""AMDIM: features of one view find those of the other view's locations, at three scales.

    With one vector `r1` and maps `r5` and `r7` of 5x5 and 7x7 locations of each view, the loss is

    .. math:: L(r_1, r_5') + L(r_1, r_7') + L(r_5[\text{a random location}], r_5')

    each the mean over both directions, `L` being :func:`sslbolts.losses.amdim`. Negatives are all locations of the
    other images on all ranks. Views share their flip (recipe "amdim"): the paper found that another flip per view
    hurts. The network must not pad, or locations are recognized by their borders, so it is one of AMDIM's own.

    The defaults are those of the official code, whose network is far smaller than that of the paper's best result. Its
    classifiers, trained on the side, are what ``OnlineLinearProbe`` does for every method.

    Args:
        backbone: "sslbolts/amdim", with ``backbone_kwargs`` as :class:`~sslbolts.networks.amdim.AMDIMEncoder` takes
            them: ``image_size`` (32, 64, 128), ``width``, ``n_rkhs``, ``depth``. Or a module whose
            ``forward(x, maps=None)`` returns vectors `r1` ``(B, D)`` and appends `r5` and `r7`, ``(B, D, 5, 5)`` and
            ``(B, D, 7, 7)``, to the list ``maps``, if it is given one.
        clip: bound of the scores.
        regularization: weight of the mean squared score.
        milestones: parts of the run at which the learning rate is divided by 5; none for a cosine. Epochs 31 and 46 of
            50 on ImageNet, 251 and 281 of 300 on CIFAR-10 and STL-10: the official code says 30, 45, 250 and 280, and
            divides one epoch later.
        optimizer: Adam as in the official code, with decay of all parameters.
        lr_scaling: as in :class:`SSLModule`; the official code has one learning rate.
        warmup_epochs: 500 steps in the official code: less than a fifth of an epoch on ImageNet.
        final_lr, network: see :class:`SSLModule`.

    Raises:
        UsageError: for a value out of its range, or a network that has no such maps.

    Source: Bachman et al., Learning Representations by Maximizing Mutual Information Across Views, NeurIPS 2019,
    arXiv:1906.00910.

    Example:
        >>> method = AMDIM(backbone_kwargs={"image_size": 32, "width": 16, "n_rkhs": 64, "depth": 1})
        >>> method(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 64])
    """

    indicators = (
        accuracy_over_chance(
            "two views of one image are each other's nearest",
            "a lower learning rate or a longer warm-up",
            "a larger batch",
            of="features",
        ),
    )
    own_statistics_from = 1  # as in the official code
    decay_vectors = True
    milestone_factor = 0.2
    warmup_lead = 1

    def __init__(
        self,
        backbone: BackboneLike = "sslbolts/amdim",
        *,
        clip: float = 20.0,
        regularization: float = 0.05,
        milestones: Sequence[float] = (0.62, 0.92),
        optimizer: OptimizerCallable = lambda params: Adam(params, lr=2e-4, betas=(0.8, 0.999), weight_decay=1e-5),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.1873,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        positive(clip=clip)
        at_least(0, regularization=regularization)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        if "maps" not in inspect.signature(self.backbone.forward).parameters:
            raise UsageError(
                f"AMDIM needs features of three scales, which {type(self.backbone).__name__} does not give: take "
                'backbone="sslbolts/amdim", or a module with forward(x, maps=None) that appends two maps.'
            )
        self.clip = clip
        self.regularization = regularization

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        (g1, a5, a7), (g2, b5, b7) = map(self._scales, batch.views)  # (B, D), (B, 25, D), (B, 49, D)
        s1, s2 = self._random_locations((a5, b5), batch_idx)  # (B, D)
        losses = {
            "1_to_5": self._both_ways(g1, b5, g2, a5),
            "1_to_7": self._both_ways(g1, b7, g2, a7),
            "5_to_5": self._both_ways(s1, b5, s2, a5),
        }
        loss = torch.stack(list(losses.values())).sum()
        for name, part in losses.items():
            self.log(f"train/loss_{name}", part.detach(), batch_size=len(g1))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(g1))
        self.log_matching(matching_accuracy(g1, g2), of=len(g1), batch_size=len(g1))
        return loss

    def _scales(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps: list[Tensor] = []
        r1 = self.backbone(x, maps)
        r5, r7 = (features.flatten(2).transpose(1, 2) for features in maps)
        return r1, r5, r7

    def _both_ways(self, source1: Tensor, target2: Tensor, source2: Tensor, target1: Tensor) -> Tensor:
        """Mean over view 1 -> view 2 and view 2 -> view 1, regularization included."""
        settings = {"clip": self.clip, "regularization": self.regularization}
        return (amdim(source1, target2, **settings) + amdim(source2, target1, **settings)) / 2

    def _random_locations(self, maps: Sequence[Tensor], batch_idx: int) -> list[Tensor]:
        """One location of each map ``(B, L, D)``."""
        images, locations, width = maps[0].shape
        drawn = self.generator(batch_idx, device=maps[0].device)
        chosen = integers(len(maps), images, below=locations, generator=drawn, images=1)
        places = chosen[:, :, None, None].expand(-1, -1, 1, width)
        return [features.gather(1, where).squeeze(1) for features, where in zip(maps, places)]
