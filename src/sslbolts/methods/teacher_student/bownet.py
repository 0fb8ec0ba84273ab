"""BoWNet: learning representations by predicting bags of visual words."""

import copy
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from sslbolts.batch import ViewBatch
from sslbolts.checks import fraction, positive, whole
from sslbolts.errors import UsageError
from sslbolts.health import perplexity_ratio
from sslbolts.losses import bag_of_words
from sslbolts.losses.bag_of_words import hard_bags, word_distances
from sslbolts.losses.precision import full_precision
from sslbolts.methods.base import LRScaling, NetworkArguments, SSLModule
from sslbolts.methods.teacher_student.frozen import FrozenTeacher, accept_eval_mode, teacher_network
from sslbolts.methods.teacher_student.visual_words import log_perplexities, without_border
from sslbolts.methods.training_features import training_features
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.taps import feature_maps, last_stages, map_widths
from sslbolts.optim import OptimizerCallable
from sslbolts.readouts.kmeans import kmeans, shard
from sslbolts.training.memory import Memory
from sslbolts.training.seeds import generator
from sslbolts.training.shared_draws import uniform
from sslbolts.transforms.cutmix import cut_and_mix

__all__ = ["BoWNet", "WordClassifier", "Words"]


class Words(Memory):
    """The visual words: the centroids of a teacher's local features. Made once, and kept in the checkpoint.

    Args:
        count: number of words `K`.
        dim: their width `C`.

    Attributes:
        rows: ``(K, C)``.
        made: whether they are there yet.
    """

    rows: Tensor
    made: Tensor

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(count, dim))
        self.register_buffer("made", torch.tensor(False))


class WordClassifier(nn.Module):
    r"""Logits `γ ⟨f, w_k / |w_k|⟩` of words, with one learned `γ`.

    Args:
        in_dim: width `D` of features.
        count: number of words `K`.
        gamma: `γ` at the beginning.

    Example:
        >>> WordClassifier(4, 10)(torch.randn(2, 4)).shape
        torch.Size([2, 10])
    """

    def __init__(self, in_dim: int, count: int, gamma: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, in_dim))
        self.gamma = nn.Parameter(torch.tensor(gamma))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, K)`` of features ``(B, D)``."""
        return _logits(features, self.weight, self.gamma)


@full_precision
def _logits(features: Tensor, weight: Tensor, gamma: Tensor) -> Tensor:
    return gamma * features @ F.normalize(weight, dim=1).T


class BoWNet(SSLModule):
    r"""BoWNet: from a perturbed image, a student predicts how often each visual word occurs in the image itself.

    The words are k-means centroids of the local features of a frozen teacher, which some other task has trained (the
    paper's: rotation prediction). They are made from the training images when training starts. The target is the
    histogram of the nearest words of the clean image's map, without its border, which has seen the padding.
    Of two neighboring images in the batch one may get a patch of the other (CutMix), and so many of its words.

    The student may teach in the next round: give a checkpoint of this method as ``teacher``, or see :meth:`next_round`.
    There is no official code: where features are drawn, `γ`, weight decay, the learning rate and the cosine that it
    follows are chosen here. A public reproduction on CIFAR-100 failed to get the paper's gains, so take its figures as
    unverified.

    Args:
        backbone: the student; see :class:`SSLModule`.
        teacher: a file of a trained backbone, a name with published weights, a module, or a mapping; see
            :class:`~sslbolts.Distillation`.
        level: name of the teacher's layer whose map is turned into words, of at least 3 x 3 pixels; None is the last
            stage of a ResNet, or of what timm calls stages.
        num_words: size `K` of the vocabulary; 20,000 for ImageNet, 2048 for small images.
        binary: predict which words occur, instead of how often.
        features_per_image: how many local features of each image k-means sees.
        kmeans_iterations: of the k-means.
        gamma: `γ` of the classifier at the beginning; much larger ones start out too sure.
        cutmix: probability that an image gets a patch of its neighbor's.
        optimizer: SGD, with decay on all parameters as in OBoW.
        lr_scaling, warmup_epochs, final_lr, network: see :class:`SSLModule`; the paper has no warm-up.

    Raises:
        UsageError: for a value out of its range, a teacher that cannot be had, or a level that it does not have; when
            training starts, for maps of fewer than 3 x 3 pixels, or fewer local features than words.

    Source: Gidaris et al., Learning Representations by Predicting Bags of Visual Words, CVPR 2020, arXiv:2002.12247;
    CutMix: Yun et al., ICCV 2019, arXiv:1905.04899.

    Example:
        >>> method = BoWNet("resnet10t", stem="cifar", teacher={"backbone": "resnet18", "stem": "cifar"}, num_words=64)
        >>> method.level, tuple(method.words.rows.shape), tuple(method.projector.weight.shape)
        ('layer4', (64, 512), (64, 512))
    """

    starts_at_identity = True
    decay_vectors = True
    embedding = "backbone"  # for CollapseMonitor: the projector's outputs are logits, whose width says nothing
    indicators = (
        perplexity_ratio(
            "a teacher that was trained, on images normalized as these are", "more words", "an earlier level"
        ),
    )

    def __init__(
        self,
        backbone: BackboneLike = "resnet50",
        *,
        teacher: str | nn.Module | dict[str, Any],
        level: str | None = None,
        num_words: int = 20000,
        binary: bool = False,
        features_per_image: int = 4,
        kmeans_iterations: int = 20,
        gamma: float = 1.0,
        cutmix: float = 0.5,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.03, momentum=0.9, weight_decay=1e-4),
        lr_scaling: LRScaling = "linear",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        **network: Unpack[NetworkArguments],
    ) -> None:
        whole(num_words=num_words, features_per_image=features_per_image, kmeans_iterations=kmeans_iterations)
        positive(gamma=gamma)
        fraction(cutmix=cutmix)
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, **network)
        trained, spec = teacher_network(teacher)
        if spec is not None:
            self.save_hyperparameters({"teacher": spec})  # in place of a path or of weights that only training needs
        self.teacher = FrozenTeacher(trained)
        self.level = level or last_stages(trained, 1)[0]
        self.binary = binary
        self.features_per_image = features_per_image
        self.kmeans_iterations = kmeans_iterations
        self.cutmix = cutmix
        (width,) = map_widths(trained, [self.level], network.get("in_chans", 3))
        self.words = Words(num_words, width)
        self.projector = WordClassifier(self.num_features, num_words, gamma)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        clean, perturbed = batch.views
        bags = hard_bags(word_distances(self._teacher_map(clean), self.words.rows), binary=self.binary)  # (B, K)
        numbers = uniform(len(clean), 4, generator=self.generator(batch_idx, device=clean.device))
        images, mixed = cut_and_mix(perturbed, bags, numbers, probability=self.cutmix)
        loss = bag_of_words(self.projector(self.backbone(images)), mixed, divergence=False)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(clean))
        log_perplexities(self, [bags])
        return loss

    def on_fit_start(self) -> None:
        super().on_fit_start()
        accept_eval_mode(self, self.teacher)

    def on_train_start(self) -> None:
        if not self.words.made:
            self.make_words()

    def make_words(self) -> None:
        """k-means on local features of all training images, under their evaluation transforms; needs a Trainer."""
        features = training_features(self, self._local_features, description="Features for visual words")
        seed = generator(self._seed)  # the same on all ranks
        rows = shard(features.flatten(0, 1))
        count = len(self.words.rows)
        clusters = kmeans(rows, count, iterations=self.kmeans_iterations, generator=seed, progress=True)
        self.words.rows.copy_(clusters.centroids)
        self.words.made.fill_(True)

    @torch.no_grad()
    def _teacher_map(self, images: Tensor) -> Tensor:
        """The teacher's map without its border, ``(B, C, H, W)``."""
        (maps,) = feature_maps(self.teacher, [f"network.{self.level}"], images)
        return without_border(maps, self.level)

    def _local_features(self, images: Tensor) -> Tensor:
        """Features at some places of each image's map, ``(B, features_per_image, C)``."""
        maps = self._teacher_map(images).flatten(2).mT  # (B, L, C)
        # The first place is drawn by the image's own pixels: whole numbers, whose sum no order of adding changes.
        first = (images * 1000).round().long().flatten(1).sum(1)
        steps = torch.arange(self.features_per_image, device=images.device)
        places = (first[:, None] + steps * max(1, maps.shape[1] // self.features_per_image)) % maps.shape[1]
        return maps.gather(1, places[:, :, None].expand(-1, -1, maps.shape[2]))

    def next_round(self, **changes: Any) -> "BoWNet":
        """A new method with the same arguments whose teacher is this one's student; it makes words of its own.

        The ``level`` stays if the student has a layer of that name, as it has where both networks are of one kind;
        otherwise it is the student's last stage.

        Args:
            changes: arguments to give anew, such as ``level``; ``backbone`` where it was given as a module.

        Raises:
            UsageError: if the backbone was given as a module: a new one is needed.

        Example:
            >>> first = BoWNet("resnet10t", teacher={"backbone": "resnet18"}, num_words=8)
            >>> second = first.next_round(num_words=16)
            >>> torch.equal(second.teacher.network.bn1.weight, first.backbone.bn1.weight)
            True
        """
        teacher: nn.Module | dict[str, Any] = copy.deepcopy(self.backbone)
        if "backbone" in self.hparams:  # by name: then the new method's checkpoints need no teacher to be loaded
            given = {name: self.hparams[name] for name in ("backbone", "stem", "in_chans", "backbone_kwargs")}
            teacher = {**given, "backbone_kwargs": given["backbone_kwargs"] or {}}
        level = self.hparams["level"]
        if level not in dict(self.backbone.named_modules()):
            level = None
        arguments = {**self.hparams, "level": level, "teacher": teacher, **changes}
        if "backbone" not in arguments:
            raise UsageError("this backbone was given as a module: give the next student's, next_round(backbone=...).")
        method = type(self)(**arguments)
        method.teacher.network.load_state_dict(self.backbone.state_dict())
        return method
