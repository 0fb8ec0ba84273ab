"""The base of methods on text: a vocabulary from the data, a linear schedule, and the nearest words."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbolts.batch import TextBatch
from sslbolts.checks import whole
from sslbolts.errors import UsageError, did_you_mean
from sslbolts.methods.base import LRScaling, SSLModule
from sslbolts.optim import OptimizerCallable, linear_decay

__all__ = ["TextModule"]

_FEWEST = 3  # the end of a sentence, and two words


class TextModule(SSLModule):
    """A method that learns from :class:`~sslbolts.batch.TextBatch`, whose words it gets to know when training starts.

    The vocabulary is the DataModule's; it is in the checkpoint, and a module that is loaded from there knows it.

    Args:
        backbone: the network, of which a subclass makes the table of words in :meth:`resize`.
        optimizer, lr_scaling: see :class:`~sslbolts.SSLModule`.
        warmup_epochs: epochs of linear rise from 0; from step 0 on the learning rate falls in a straight line.
        final_lr: the least learning rate after the rise, as a fraction of the peak.
        compile_backbone: run the backbone through ``torch.compile``.

    Attributes:
        counts: ``(V,)`` int64, most frequent first, but for the sentence end, which is word 0.
        words: the words themselves; empty where only their counts are known.

    Raises:
        UsageError: for a vocabulary of fewer than two words beside the sentence end; when training starts, if the data
            is no text, or has another vocabulary than the checkpoint.
    """

    num_views = None
    counts: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        optimizer: OptimizerCallable,
        lr_scaling: LRScaling,
        warmup_epochs: float,
        final_lr: float,
        *,
        compile_backbone: bool = False,
    ) -> None:
        super().__init__(backbone, optimizer, lr_scaling, warmup_epochs, final_lr, compile_backbone=compile_backbone)
        self.words: list[str] = []
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int64))

    def resize(self, words: int) -> None:
        """Make the tables for a vocabulary of so many words."""
        raise NotImplementedError(f"{type(self).__name__} must define resize(words).")

    def take_vocabulary(self, counts: Tensor | Sequence[int], words: Sequence[str] = ()) -> Self:
        """Get to know a vocabulary, once.

        Args:
            counts: how often each word occurs, the sentence end first.
            words: themselves.

        Raises:
            UsageError: for too few words, or others than are known already.
        """
        counts = torch.as_tensor(counts, dtype=torch.int64)
        name = type(self).__name__
        if len(counts) < _FEWEST or not bool((counts[1:] > 0).all()):
            raise UsageError(
                f"{name} compares words with others, and its vocabulary has {max(0, len(counts) - 1)} beside the end "
                "of a sentence, of two or more that must occur: give a longer text, or a smaller min_count."
            )
        if len(self.counts) == 0:
            self.resize(len(counts))
            self.counts = counts.to(self.counts.device)
        elif len(self.counts) != len(counts) or (self.words and words and list(words) != self.words):
            raise UsageError(
                f"this {name} knows a vocabulary of {len(self.counts):,} words, and the text has another one, of "
                f"{len(counts):,}: give the text and the min_count that it was trained with."
            )
        self.words = list(words) or self.words
        return self

    def setup(self, stage: str) -> None:
        """Takes the vocabulary of the DataModule."""
        super().setup(stage)
        vocabulary = getattr(getattr(self.trainer, "datamodule", None), "vocabulary", None)
        if vocabulary is not None:
            self.take_vocabulary(vocabulary.counts, vocabulary.words)
        elif not len(self.counts):
            raise UsageError(
                f"{type(self).__name__} learns from text, and there is no vocabulary: give it a TextDataModule "
                "(--data TextDataModule), or counts=."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["sslbolts_words"] = list(self.words)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        stored: Mapping[str, Any] = checkpoint.get("state_dict", {})
        if "counts" in stored:
            self.take_vocabulary(stored["counts"], checkpoint.get("sslbolts_words", ()))
        super().on_load_checkpoint(checkpoint)

    def check_batch(self, batch: Any) -> None:
        if not isinstance(batch, TextBatch):
            raise UsageError(
                f"{type(self).__name__} trains on pieces of a text, TextBatch(ids, targets, indices), but got a "
                f"{type(batch).__name__}: use TextDataModule (--data TextDataModule)."
            )

    def lr_factor(self, step: int, *, total: int, warmup: int) -> float:
        return linear_decay(step, total=total, warmup=warmup, floor=self.final_lr)

    def word_vectors(self) -> Tensor:
        """The vector of every word of the vocabulary, ``(V, D)``."""
        raise NotImplementedError(f"{type(self).__name__} must define word_vectors().")

    @torch.no_grad()
    def nearest_words(self, words: Sequence[str], k: int = 10) -> list[list[tuple[str, float]]]:
        """For each word, the ``k`` others whose vectors point most nearly in its direction, and the cosines.

        Raises:
            UsageError: for a word that is not in the vocabulary, or where the words are not known.
        """
        whole(k=k)
        if not self.words:
            raise UsageError(f"this {type(self).__name__} knows how often words occur, but not the words themselves.")
        places = {word: place for place, word in enumerate(self.words)}
        for word in words:
            if word not in places:
                raise UsageError(f'"{word}" is not in the vocabulary.{did_you_mean(word, self.words)}')
        vectors = F.normalize(self.word_vectors().float(), dim=1)
        rows = torch.tensor([places[word] for word in words], device=vectors.device)
        cosines = vectors[rows] @ vectors.T
        cosines[:, 0] = -2  # the end of a sentence is no word
        cosines.scatter_(1, rows[:, None], -2.0)
        best = cosines.topk(min(k, len(self.words) - 2), dim=1)
        return [
            [(self.words[place], cosine) for place, cosine in zip(found, values)]
            for found, values in zip(best.indices.tolist(), best.values.tolist())
        ]
