"""word2vec: vectors of words that tell which words stand around them."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sslbolts.batch import TextBatch
from sslbolts.checks import at_least, one_of, whole
from sslbolts.distributed import world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.text import Update, compared_words, negative_sampling
from sslbolts.methods.base import LRScaling
from sslbolts.methods.text.base import TextModule
from sslbolts.methods.text.sampling import drawn_words, keep_probability, noise_distribution, thinned, windows
from sslbolts.networks.words import WordVectors
from sslbolts.optim import OptimizerCallable
from sslbolts.training.seeds import generator
from sslbolts.training.shared_draws import uniform

__all__ = ["Groups", "Mode", "Word2Vec"]

Mode = Literal["skip_gram", "cbow"]


class Groups(NamedTuple):
    """Words that are compared: `N` groups of up to `C` context words, a target, and `K` negatives.

    Attributes:
        contexts: ``(N, C)``, -1 for none.
        words: ``(N, 1 + K)``, the target first.
    """

    contexts: Tensor
    words: Tensor


class Word2Vec(TextModule):
    """word2vec: a word is told from words that are drawn at random by the words around it.

    There are two vectors of each word, of it as a context and of it as a target; the first are the result. Frequent
    words are thinned out before windows are laid, so windows reach further; they are drawn anew in every epoch.

    The loss is the sum over all groups of the batch, so a learning rate has the meaning that it has in the published
    program, which makes a step for each: the smaller the batch, the nearer to it. ``train/loss`` is the mean of a
    group. The features of a piece of text are the mean of its words' vectors.

    Args:
        mode: ``"skip_gram"`` compares the target with each context word, ``"cbow"`` with their mean.
        dim: width of the vectors.
        window: widest distance of a context word; each target draws its own, from 1 up to it.
        negatives: words drawn for each target; one that is the target is left out.
        subsampling: threshold `t` of :func:`~sslbolts.methods.text.sampling.keep_probability`; 0 keeps every word.
        noise_power: power of the counts by which negatives are drawn.
        update: ``"gradient"`` of the loss; or ``"published"``, the step of the published program, which gives
            each context word of ``"cbow"`` the error of the mean undivided. That one is for plain SGD alone.
        optimizer: SGD with the program's lr of 0.025, of ``"skip_gram"``; it has 0.05 for ``"cbow"``.
        lr_scaling, warmup_epochs, final_lr: see :class:`~sslbolts.methods.text.base.TextModule`; the learning rate
            falls to 1e-4 of its beginning, in a straight line.
        counts: how often each word occurs, the sentence end first; None takes those of the DataModule.

    Raises:
        UsageError: for a value out of its range, a vocabulary that is too small, or ``"published"`` with another
            optimizer.

    Source: Mikolov et al., Efficient Estimation of Word Representations in Vector Space, ICLR 2013 workshop,
    arXiv:1301.3781, and Distributed Representations of Words and Phrases and their Compositionality, NeurIPS 2013,
    arXiv:1310.4546. Thinning, windows and steps are those of the program; sums are made of a batch at once, and the
    sigmoid is exact.

    Example:
        >>> method = Word2Vec(dim=8, counts=[3, 5, 4, 2])
        >>> method(torch.tensor([[1, 2, 0, 3, -1]])).shape
        torch.Size([1, 8])
    """

    indicators = (
        Indicator(
            metric="train/loss_of_chance",
            above=0.995,
            meaning="words are told apart no better than by guessing: the vectors say nothing yet",
            fixes=("more epochs: on a short text the loss stays there for a while", "a larger learning rate"),
        ),
    )

    def __init__(
        self,
        mode: Mode = "skip_gram",
        *,
        dim: int = 100,
        window: int = 5,
        negatives: int = 5,
        subsampling: float = 1e-3,
        noise_power: float = 0.75,
        update: Update = "gradient",
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.025),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.0,
        final_lr: float = 1e-4,
        counts: Sequence[int] | None = None,
    ) -> None:
        one_of(get_args(Mode), mode=mode)
        one_of(get_args(Update), update=update)
        whole(dim=dim, window=window, negatives=negatives)
        at_least(0, subsampling=subsampling, noise_power=noise_power)
        super().__init__(WordVectors(dim), optimizer, lr_scaling, warmup_epochs, final_lr)
        self.mode = mode
        self.window = window
        self.negatives = negatives
        self.subsampling = subsampling
        self.noise_power = noise_power
        self.update = update
        self.output_vectors = WordVectors(dim)
        if update == "published":
            self._refuse_other_steps()
        if counts is not None:
            self.take_vocabulary(counts)

    def training_step(self, batch: TextBatch, batch_idx: int) -> Tensor:  # type: ignore[override]  # no views
        groups = self.draw_groups(batch.ids, self.generator(batch_idx, device=batch.ids.device))
        loss, mean, of_chance = self.compare(groups)
        self.log("train/loss", mean, prog_bar=True, batch_size=len(batch.ids))
        self.log("train/loss_of_chance", of_chance, batch_size=len(batch.ids))
        return loss * world_size()  # of all ranks; what DDP makes of it is the mean

    def draw_groups(self, ids: Tensor, draws: torch.Generator) -> Groups:
        """The groups of a piece of text ``(B, L)``: thinned, then windows, then negatives."""
        counts = self.counts.float()
        stay = keep_probability(counts, self.subsampling)[ids.clamp(min=0)]  # (B, L)
        words, sentences = thinned(ids, uniform(*ids.shape, generator=draws) < stay)
        radius = 1 + (uniform(*ids.shape, generator=draws) * self.window).long().clamp(max=self.window - 1)
        contexts = windows(words, sentences, radius, self.window)  # (B, L, 2 window)
        targets = words.clamp(min=0)[..., None]  # (B, L, 1)
        if self.mode == "skip_gram":  # each context word is a group of its own
            targets, contexts = targets.expand_as(contexts)[..., None], contexts[..., None]
        shape = (*targets.shape[:-1], self.negatives)
        noise = noise_distribution(counts, self.noise_power)
        negatives = drawn_words(uniform(*shape, generator=draws), uniform(*shape, generator=draws), noise)
        contexts, words = contexts.flatten(0, -2), torch.cat([targets, negatives], dim=-1).flatten(0, -2)
        there = (contexts < 0).all(1).to(torch.uint8).argsort(stable=True)  # first, where monitors look
        return Groups(contexts[there], words[there])

    def compare(self, groups: Groups) -> tuple[Tensor, Tensor, Tensor]:
        """The sum of the loss over the groups, its mean, and its part of the loss of guessing."""
        present = groups.contexts >= 0  # (N, C)
        rows = self.backbone(groups.contexts.clamp(min=0))  # (N, C, D)
        loss = negative_sampling(
            rows, self.output_vectors(groups.words), groups.words, present, update=self.update, lr=self._lr()
        )
        compared = compared_words(groups.words, present)
        mean = loss.detach() / compared[:, 0].sum().clamp(min=1)
        return loss, mean, loss.detach() / (math.log(2) * compared.sum().clamp(min=1))

    def forward(self, x: Tensor) -> Tensor:
        """The mean ``(B, D)`` of the vectors of the words of ``(B, L)``."""
        words = (x > 0)[..., None]
        total = (self.backbone(x.clamp(min=0)) * words).sum(1)
        mean: Tensor = total / words.sum(1).clamp(min=1)
        return mean

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """The loss on other text, with the same draws at every epoch; and features for the monitors."""
        ids = batch[0]
        _, mean, _ = self.compare(self.draw_groups(ids, generator(0, batch_idx, device=ids.device)))
        self.log("val/loss", mean, batch_size=len(ids), sync_dist=world_size() > 1, add_dataloader_idx=False)
        return {"features": self(ids)}

    test_step = validation_step

    def word_vectors(self) -> Tensor:
        table: Any = self.backbone
        vectors: Tensor = table.weight
        return vectors

    def resize(self, words: int) -> None:
        for table in (self.backbone, self.output_vectors):
            table.resize(words)  # type: ignore[operator]
        nn.init.zeros_(self.output_vectors.weight)

    def _lr(self) -> float:
        """The learning rate of this step."""
        if self.update == "gradient" or not self.training:
            return 0.0
        rate: float = self.trainer.optimizers[0].param_groups[0]["lr"]
        return rate

    def _refuse_other_steps(self) -> None:
        plain = self.optimizer.plain
        others = {name: plain["init_args"].get(name) for name in ("momentum", "weight_decay", "nesterov")}
        if not plain["class_path"].endswith(".SGD") or any(others.values()):
            raise UsageError(
                'update="published" is a step of plain SGD, and the optimizer is '
                f"{plain['class_path'].rpartition('.')[2]}({', '.join(f'{k}={v}' for k, v in others.items() if v)}): "
                'give torch.optim.SGD with lr alone, or update="gradient".'
            )
