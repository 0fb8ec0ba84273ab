"""Multi-task learning: several methods over one network."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.optim import RMSprop

from sslbolts.batch import ViewBatch
from sslbolts.checks import at_least
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.methods.base import LRScaling, SSLModule
from sslbolts.methods.host import MethodHost, class_and_arguments, described, logging_as, refuse_labels
from sslbolts.methods.pretext.base import PretextArguments, PretextModule, Shown
from sslbolts.methods.pretext.lab import LabModule, lightness_alone, refuse_other_data, refuse_other_images
from sslbolts.methods.registry import METHODS, get_method
from sslbolts.networks.backbones import BackboneLike
from sslbolts.networks.shared_trunk import SharedTrunk
from sslbolts.optim import OptimizerCallable, parameter_groups

__all__ = ["MultiTask"]

_PAPERS_TASKS = ("RelativePosition", "Colorization", "Exemplar")


class MultiTask(MethodHost, PretextModule):
    r"""Multi-task learning: one network, the trunk, serves several methods at once, each with a head of its own.

    .. math:: L = \sum_t w_t L_t + \lambda \sum_t \sum_u |\alpha_{t,u}|

    Each task goes through the trunk by itself, with what it makes of the batch's images; one step of the optimizer is
    for all. A task of weight 0 takes no part, and leaves no trace in the trunk. What a task logs stands under its name:
    ``relative_position/loss``. A task gets as many of a batch's views as it takes, the first ones.

    The lasso is the second sum: a task's head reads, in place of the trunk's features, a sum of the maps of some layers
    :math:`\sum_u \alpha_{t,u} M_u`, whose few large weights say which layers are for which task. Layers behind the last
    of these learn nothing; on several devices they then need the strategy "ddp_find_unused_parameters_true".

    Tasks look at images in different ways. Relative position and others see colors, colorization must see lightness
    alone, which is given to the trunk as three equal channels. With ``harmonize`` all tasks see only lightness.
    A batch norm in the trunk uses each task's own statistics in training, as tasks have calls of their own; in
    evaluation it has the average over all calls, which is none of theirs. The more alike inputs are, the less this
    matters. Features are of images as the first task shows them to the trunk.

    Differences to the paper: motion segmentation is not among the methods; every task sees the same images in a step,
    where the paper has a batch for each; the paper's trunk is the first three stages of a ResNet-101 v2, here the whole
    of a ResNet-101, of which ``feature_layer="layer3"`` and ``lasso_layers`` name parts.

    Args:
        backbone: the trunk.
        tasks: other methods: names, or ``{"class_path": "sslbolts.RotNet", "init_args": ...}`` without network and
            optimizer, which are given here. They are the paper's best three if nothing is said.
        weights: `w`, one for each task; None is 1 for all. The paper has a learning rate for each.
        harmonize: every task sees images without colors, L in each of three channels.
        lasso_layers: layers of the trunk that are added for every task, with maps of one size; the paper has the 23
            blocks of ResNet-101's ``layer3``. None of them for no lasso.
        lasso_weight: :math:`\lambda`; None is 1e-3. Not without ``lasso_layers``.
        optimizer: RMSprop as in the paper; its learning rate is not known.
        milestones: parts of the run at which the learning rate drops to a tenth; none for a cosine.
        lr_scaling, warmup_epochs, final_lr: see :class:`~sslbolts.SSLModule`.
        network: see :class:`~sslbolts.methods.pretext.base.PretextArguments`.

    Raises:
        UsageError: for a value out of its range, tasks that are not methods, or that cannot share a network or an
            optimizer; when training starts, for fewer views than a task takes.

    Source: Doersch and Zisserman, Multi-task Self-Supervised Visual Learning, ICCV 2017, arXiv:1708.07860.

    Example:
        >>> method = MultiTask("resnet10t", stem="cifar", tasks=["RotNet", "Colorization"], weights=[1.0, 0.5])
        >>> list(method.tasks), method.eval()(torch.rand(2, 3, 32, 32)).shape
        (['rotnet', 'colorization'], torch.Size([2, 512]))
    """

    num_views = None
    starts_at_identity = False
    indicators: tuple[Indicator, ...] = ()  # type: ignore[misc]  # those of the tasks

    def __init__(
        self,
        backbone: BackboneLike = "resnet101",
        *,
        tasks: Sequence[str | dict[str, Any]] = _PAPERS_TASKS,
        weights: Sequence[float] | None = None,
        harmonize: bool = False,
        lasso_layers: Sequence[str] = (),
        lasso_weight: float | None = None,
        optimizer: OptimizerCallable = lambda params: RMSprop(params, lr=1e-4, momentum=0.9),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 0.0,
        milestones: Sequence[float] = (),
        **network: Unpack[PretextArguments],
    ) -> None:
        weights = _checked(tasks, weights)
        at_least(0, lasso_weight=lasso_weight)
        if lasso_weight is not None and not lasso_layers:
            raise UsageError(f"lasso_weight={lasso_weight} has no effect without lasso_layers: name some layers.")
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, milestones=milestones, **network)
        made = [_task(task, SharedTrunk(self.backbone, lasso_layers)) for task in tasks]
        self.save_hyperparameters({"tasks": [described(task, "task")["task"] for task in made]})
        self.weights = dict(zip(_names(made), weights))
        self.tasks = nn.ModuleDict(dict(zip(self.weights, made)))
        self.harmonize = harmonize
        self.lasso_weight = 0.0 if not lasso_layers else 1e-3 if lasso_weight is None else lasso_weight
        self._looked_at = False
        _refuse_two_with_callbacks(self.acting)
        self.indicators = tuple(self._indicators())
        shared = set(self.backbone.parameters())
        for name, task in self.tasks.items():
            if not self.weights[name]:  # what gets no gradient is none of the optimizer's
                for parameter in set(task.parameters()) - shared:
                    parameter.requires_grad_(False)

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        loss = batch.views[0].new_zeros(())
        for name, task in self._acting.items():
            seen = self.seen_by(task, batch)
            seen = seen._replace(views=[self.harmonized(task, view) for view in seen.views])
            with logging_as(task, self, lambda metric, name=name: _under(name, metric)):  # type: ignore[misc]
                loss = loss + self.weights[name] * task.training_step(seen, batch_idx)
        loss = loss + self.lasso(len(batch.targets))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.targets))
        return loss

    def lasso(self, batch_size: int) -> Tensor | float:
        """The weighted L1 norm of all alphas; logs each task's, and how many layers it reads."""
        total: Tensor | float = 0.0
        for name, task in self._acting.items():
            alpha = task.backbone.alpha
            if alpha is not None:
                size = alpha.abs().sum()
                read = alpha.detach().square().sum().clamp(min=1e-12)
                self.log(f"{name}/lasso_norm", size.detach(), batch_size=batch_size)
                self.log(f"{name}/lasso_layers", size.detach() ** 2 / read, batch_size=batch_size)
                total = total + self.lasso_weight * size
        return total

    @property
    def _acting(self) -> dict[str, Any]:
        return {name: task for name, task in self.tasks.items() if self.weights[name]}

    @property
    def acting(self) -> list[SSLModule]:
        """The tasks that have a weight."""
        return list(self._acting.values())

    def seen_by(self, method: SSLModule, batch: ViewBatch) -> ViewBatch:
        return batch._replace(views=batch.views[: method.num_views])

    def harmonized(self, task: SSLModule, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` as a task gets them; those that see Lab leave the colors out themselves."""
        if not self.harmonize or isinstance(task, LabModule):
            return images
        if not self._looked_at:
            refuse_other_images(images, "MultiTask with harmonize=True")
            self._looked_at = True
        return lightness_alone(images)

    def prepare(self, images: Tensor) -> Tensor:
        """Images as the first task shows them to the trunk."""
        first: Any = self.acting[0]
        images = self.harmonized(first, images)
        fed: Tensor = first.backbone.fed(first.prepare(images) if isinstance(first, PretextModule) else images)
        return fed

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The trunk's, and what each task has besides, in its own groups."""
        groups = parameter_groups(self.backbone)
        shared = set(self.backbone.parameters())
        for task in self.acting:
            for group in task.parameter_groups():
                own = [parameter for parameter in group["params"] if parameter not in shared]
                groups += [{**group, "params": own}] if own else []
        return groups

    def _indicators(self) -> list[Indicator]:
        found = [
            replace(one, metric=_under(name, one.metric)) for name, t in self._acting.items() for one in t.indicators
        ]
        if self.lasso_weight:
            meaning = "the lasso has taken nearly every layer from the head, which sees next to nothing"
            found += [
                Indicator(f"{name}/lasso_norm", meaning, below=0.01, fixes=("a smaller lasso_weight",))
                for name in self._acting
            ]
        return found

    def check_batch(self, batch: Any) -> None:
        super().check_batch(batch)
        for task in self.acting:
            if len(batch.views) < (task.num_views or 1):
                raise UsageError(
                    f"{type(task).__name__} takes {task.num_views} views of each image, and the batch has "
                    f"{len(batch.views)}: choose another recipe with the DataModule's views=, or leave this task out."
                )

    def setup(self, stage: str) -> None:
        self._looked_at = False
        if self.harmonize:
            refuse_other_data(getattr(self.trainer, "datamodule", None), "MultiTask with harmonize=True")
        super().setup(stage)

    @classmethod
    def examples(cls, images: Tensor, generator: torch.Generator) -> list[Shown]:
        """Those of the paper's three tasks."""
        shown: list[Shown] = []
        for name in _PAPERS_TASKS:
            task: Any = get_method(name)
            shown += task.examples(images, generator)
        return shown


def _checked(tasks: Sequence[Any], weights: Sequence[float] | None) -> list[float]:
    """The weights of tasks, one for each."""
    if isinstance(tasks, str | Mapping) or not tasks:
        raise UsageError(f'tasks={tasks!r}: it is a list of methods, e.g. ["RotNet", "Jigsaw"].')
    if any(isinstance(task, nn.Module) for task in tasks):
        raise UsageError("tasks= has a module, whose network is its own: give its class_path and init_args instead.")
    if weights is None:
        return [1.0] * len(tasks)
    if len(weights) != len(tasks):
        raise UsageError(f"weights={list(weights)}: there are {len(tasks)} tasks, and one weight is for each.")
    for weight in weights:
        at_least(0, weights=weight)
    if not any(weights):
        raise UsageError(f"weights={list(weights)}: one of them at least must be above 0.")
    return list(weights)


def _task(task: str | Mapping[str, Any], trunk: SharedTrunk) -> SSLModule:
    cls, arguments = class_and_arguments(task, argument="tasks", host="MultiTask")
    if issubclass(cls, MultiTask):
        raise UsageError("tasks= has MultiTask itself: put its tasks into this one's list.")
    if "feature_layer" in arguments:
        raise UsageError(f"tasks= gives {cls.__name__} a feature_layer: give it to MultiTask, which is evaluated.")
    made = cls(trunk, **arguments)
    refuse_labels(made, "tasks")
    if not made.automatic_optimization:
        raise UsageError(f"{cls.__name__} has two optimizers, and MultiTask one for all tasks: leave it out of tasks.")
    layer = getattr(made, "layer", "maps")
    if trunk.alpha is not None and layer != "maps":
        raise UsageError(f"layer={layer} of {cls.__name__} has no effect with lasso_layers: leave one of them out.")
    return made


def _names(tasks: Sequence[SSLModule]) -> list[str]:
    """The tasks' names, as their files have them."""
    classes = [type(task).__name__ for task in tasks]
    if len(set(classes)) < len(classes):
        raise UsageError(f"tasks= are {', '.join(classes)}: each method can be there once.")
    files = [METHODS[name].module.rpartition(".")[2] if name in METHODS else "" for name in classes]
    return [file or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for file, name in zip(files, classes)]


def _refuse_two_with_callbacks(tasks: Sequence[SSLModule]) -> None:
    bringing = [type(task).__name__ for task in tasks if task.configure_callbacks()]
    if len(bringing) > 1:
        raise UsageError(
            f"{' and '.join(bringing)} have a teacher each, and MultiTask moves one: leave one of them out."
        )


def _under(name: str, metric: str) -> str:
    """The name under which a task's metric is logged."""
    return f"{name}/{metric.removeprefix('train/')}"
