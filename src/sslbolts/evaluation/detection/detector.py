"""Detection: the backbone in a Faster R-CNN with a feature pyramid, fine-tuned on boxes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sslbolts.checkpoints.from_checkpoint import FromCheckpoint
from sslbolts.checks import at_least, positive, whole
from sslbolts.distributed import gather_ragged, rank
from sslbolts.errors import UsageError
from sslbolts.evaluation.detection.precision import coco_precision, voc_precision
from sslbolts.networks.taps import feature_maps, last_stages, map_widths
from sslbolts.optim import Schedule, warmup_steps
from sslbolts.training.facts import effective_batch_size, total_steps
from sslbolts.training.module import TrainingModule
from sslbolts.transforms.preprocessing import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["Detector"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Detector(FromCheckpoint, TrainingModule):
    """Faster R-CNN on the maps of a backbone's last stages, trained whole, by SGD as in MoCo's runs on VOC.

    Training batches are lists of images and of targets, see :class:`~sslbolts.evaluation.detection.data.VOCBoxes`; an
    image is flipped with probability 1/2. Logs ``train/loss``, and ``val/map`` (mean over overlaps of 0.5 to 0.95, as
    in COCO), ``val/map50`` and ``val/map75``, and the same by the rule of VOC 2007, ``val/voc07/map`` and so on; each
    image is counted once on any number of processes.

    Args:
        backbone: a network whose stages give maps: a ResNet, a ConvNeXt, ... It is trained in place.
        num_classes: number of classes, without the background.
        layers: names of the backbone's stages, from fine to coarse; None is the last four.
        lr: learning rate for 16 images per step, > 0; it follows the number of images linearly.
        weight_decay: >= 0.
        warmup: optimizer steps of linear rise.
        milestones: parts of the run after which the learning rate is divided by ten.
        image_size: shorter side and longest side, pixels, that images are resized to in evaluation.
        train_sizes: shorter sides, of which one is drawn for each image in training; None is that of ``image_size``.
        anchor_sizes: sides of the boxes that are proposed, pixels, one for each stage and one for the level above;
            None is 32, 64, 128, ...
        width: channels of the pyramid; the box head has four times as many.
        frozen_norm: keep statistics and scales of batch norms as they are, since batches are small; False trains them
            (a backbone that was not trained needs it).
        in_chans: channels of the images.
        mean: per channel, in [0, 1]; None is ImageNet's.
        std: as ``mean``.

    Raises:
        UsageError: for a network without maps, values that do not fit, or a missing package.

    Source: Ren et al., Faster R-CNN, NeurIPS 2015, arXiv:1506.01497; Lin et al., Feature Pyramid Networks, CVPR 2017,
    arXiv:1612.03144; schedule of He et al., MoCo, CVPR 2020, arXiv:1911.05722 (24,000 steps of 16 images on VOC07+12,
    there with a C4 head and SyncBN).

    Example:
        >>> from sslbolts.networks.backbones import create_backbone
        >>> detector = Detector(create_backbone("resnet18"), 20, width=32, image_size=(64, 64)).eval()
        >>> sorted(detector([torch.rand(3, 48, 64)])[0])
        ['boxes', 'labels', 'scores']
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        layers: Sequence[str] | None = None,
        lr: float = 0.02,
        weight_decay: float = 1e-4,
        warmup: int = 100,
        milestones: Sequence[float] = (0.75, 22 / 24),
        image_size: tuple[int, int] = (800, 1333),
        train_sizes: Sequence[int] | None = None,
        anchor_sizes: Sequence[int] | None = None,
        width: int = 256,
        frozen_norm: bool = True,
        in_chans: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        whole(num_classes=num_classes)
        positive(lr=lr)
        at_least(0, weight_decay=weight_decay, warmup=warmup)
        if not 0 < image_size[0] <= image_size[1]:
            raise UsageError(f"image_size={tuple(image_size)}: it is (shorter side, longest side), in pixels.")
        if mean is None and in_chans != 3:
            raise UsageError(f"in_chans={in_chans}: give mean= and std= of the images, one number per channel.")
        self.detector = _faster_rcnn(
            _Pyramid(backbone, layers, width, in_chans),
            num_classes,
            image_size,
            anchor_sizes,
            width,
            (mean, std) if mean is not None else (IMAGENET_MEAN, IMAGENET_STD),
        )
        self.train_sizes = tuple(train_sizes or image_size[:1])
        self.image_size = image_size
        self.frozen_norm = frozen_norm
        self._norms = [m for m in backbone.modules() if isinstance(m, _BATCH_NORMS)]
        backbone.requires_grad_()
        if frozen_norm:
            for norm in self._norms:
                norm.requires_grad_(False)
        self.train()
        self._found: list[Tensor] = []
        self._true: list[Tensor] = []
        self._images: list[Tensor] = []
        self.save_hyperparameters(ignore=["backbone"])

    def train(self, mode: bool = True) -> "Detector":
        super().train(mode)
        sizes = self.train_sizes if mode else self.image_size[:1]
        self.detector.transform.min_size = sizes
        if self.frozen_norm:
            for norm in self._norms:
                norm.eval()
        return self

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """In eval mode ``boxes``, ``labels`` and ``scores`` of each image; in training mode the losses by name."""
        return self.detector(images, targets)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Sum of the four losses: objectness and boxes of the proposals, classes and boxes of the detections."""
        images, targets = batch
        flips = (torch.rand(len(images)) < 0.5).tolist()
        pairs = [_flipped(*pair) if flip else pair for flip, pair in zip(flips, zip(images, targets))]
        losses = self([image for image, _ in pairs], [target for _, target in pairs])
        loss: Tensor = torch.stack(list(losses.values())).sum()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def on_validation_epoch_start(self) -> None:
        self._found, self._true, self._images = [], [], []

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Keeps what is found, as rows of numbers."""
        images, targets = batch
        for found, target in zip(self(images), targets):
            image = target["image_id"].float().reshape(1)
            self._images.append(torch.stack([image, torch.full_like(image, rank())], 1))
            self._found.append(_rows(image, found["boxes"], found["labels"], found["scores"]))
            self._true.append(_rows(image, target["boxes"], target["labels"], target["iscrowd"]))

    def on_validation_epoch_end(self) -> None:
        self._log_precision("val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        self._log_precision("test")

    def _log_precision(self, stage: str) -> None:
        parts = (self._images, self._found, self._true)
        images, found, true = (gather_ragged(torch.cat(part)).cpu() for part in parts)
        values = coco_precision(images, found, true) | voc_precision(images, found, true)
        for name, value in values.items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "map50")
        self._found, self._true, self._images = [], [], []

    def configure_optimizers(self) -> Any:
        """SGD with momentum 0.9, linear warm-up and steps."""
        hparams: Any = self.hparams
        lr = hparams.lr * effective_batch_size(self.trainer) / 16
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=hparams.weight_decay)
        total = total_steps(self.trainer)

        def factor(step: int) -> float:
            return warmup_steps(step + 1, total=total, warmup=hparams.warmup, milestones=hparams.milestones, factor=0.1)

        schedule = Schedule(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _Pyramid(nn.Module):
    """The maps of a backbone's stages, made equally wide by a feature pyramid, by the names "0", "1", ..., "pool"."""

    def __init__(self, backbone: nn.Module, layers: Sequence[str] | None, width: int, in_chans: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

        super().__init__()
        self.backbone = backbone
        self.layers = tuple(layers) if layers is not None else tuple(last_stages(backbone, 4))
        self.out_channels = width
        self.fpn = FeaturePyramidNetwork(
            map_widths(backbone, self.layers, in_chans), width, extra_blocks=LastLevelMaxPool()
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = feature_maps(self.backbone, self.layers, x)
        pyramid: dict[str, Tensor] = self.fpn({str(level): stage for level, stage in enumerate(maps)})
        return pyramid


def _faster_rcnn(
    pyramid: _Pyramid,
    num_classes: int,
    image_size: tuple[int, int],
    anchor_sizes: Sequence[int] | None,
    width: int,
    statistics: Any,
) -> Any:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    levels = len(pyramid.layers) + 1
    sizes = tuple(anchor_sizes or [32 * 2**level for level in range(levels)])
    if len(sizes) != levels:
        raise UsageError(f"anchor_sizes={sizes}: one for each of the {levels - 1} stages and one above are needed.")
    stages = [str(level) for level in range(levels - 1)]
    mean, std = statistics
    return FasterRCNN(
        pyramid,
        min_size=image_size[0],
        max_size=image_size[1],
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in sizes), ((0.5, 1.0, 2.0),) * levels),
        box_roi_pool=MultiScaleRoIAlign(featmap_names=stages, output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(width * 49, 4 * width),
        box_predictor=FastRCNNPredictor(4 * width, num_classes + 1),
    )


def _rows(image: Tensor, boxes: Tensor, labels: Tensor, values: Tensor) -> Tensor:
    """``(n, 8)`` float32: process, image, box, label, and a score or a mark."""
    count = len(boxes)
    columns = [torch.full_like(image, rank()).expand(count), image.expand(count), *boxes.float().unbind(1)]
    return torch.stack([*columns, labels.float(), values.float()], 1)


def _flipped(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    side = image.shape[-1]
    return image.flip(-1), {**target, "boxes": torch.stack([side - x2, y1, side - x1, y2], 1)}
