"""Text of one's own as batches of numbered words."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.resources import as_file
from importlib.resources import files as resources
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslbolts import distributed
from sslbolts._lightning import Trainer
from sslbolts.batch import TextBatch
from sslbolts.checks import one_of, whole
from sslbolts.data.loader import TrainLoader
from sslbolts.data.rank_sampler import sampler_of
from sslbolts.data.resumable import ResumableDataModule
from sslbolts.data.sampler import BatchPlan
from sslbolts.data.vocabulary import RareWords, Split, Vocabulary, numbered, pieces, texts
from sslbolts.errors import UsageError

__all__ = ["TextDataModule"]

_PACKAGED = "alice.txt"
Part = Literal["train", "val"]


class TextRows(Dataset[TextBatch]):
    """Pieces of a text, of which whole batches are taken at once."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, plan: BatchPlan | int) -> TextBatch:
        return self.batch(plan.indices if isinstance(plan, BatchPlan) else torch.tensor([plan]))

    def __getitems__(self, indices: list[int]) -> TextBatch:
        return self.batch(torch.tensor(indices))

    def batch(self, indices: Tensor) -> TextBatch:
        return TextBatch(self.rows[indices], torch.full_like(indices, -1), indices)


class TextDataModule(ResumableDataModule):
    """A text, cut into pieces of equal length, of which batches of :class:`~sslbolts.batch.TextBatch` are made.

    The words of all files are one long text. Its last part is for validation, the rest is counted: the vocabulary has
    the words that occur there ``min_count`` times, the most frequent first, behind the end of a sentence as word 0.

    The order of the pieces is a function of (seed, epoch). The seed is in the checkpoint, and a resumed run goes on
    with the batch that would have come next, also in the middle of an epoch.

    Args:
        files: text files in UTF-8, one or several; None is the text that comes with the package, the first chapters of
            Alice's Adventures in Wonderland.
        sequence_length: words of a piece, ends of sentences counted.
        batch_size: pieces per batch and device.
        min_count: rarer words are not in the vocabulary.
        split: ``"words"`` are letters and digits, and sentences end at a stop or a blank line; ``"whitespace"`` leaves
            what stands between blanks as it is, and sentences end with the line.
        lowercase: make capital letters small.
        rare: ``"drop"`` words that are not in the vocabulary; or call each of them ``"unknown"``, the last word of it.
        val_fraction: part of the text that is for validation, from its end.
        eval_batch_size: pieces per evaluation batch; None is ``batch_size``.
        drop_last: leave out the last pieces of an epoch that do not fill a batch.
        seed: of the order; None is that of the run.
        predict_on: the part that ``predict_dataloader`` gives.

    Raises:
        UsageError: for a value out of its range; when the text is first needed, for a file that cannot be read or is
            no text, or a text that is too short.

    Example:
        >>> data = TextDataModule(sequence_length=32, batch_size=4)
        >>> batch = next(iter(data.train_dataloader()))
        >>> tuple(batch.ids.shape), data.vocabulary.words[:3]
        ((4, 32), ['</s>', 'the', 'and'])
    """

    def __init__(
        self,
        files: str | Sequence[str] | None = None,
        *,
        sequence_length: int = 64,
        batch_size: int = 32,
        min_count: int = 5,
        split: Split = "words",
        lowercase: bool = True,
        rare: RareWords = "drop",
        val_fraction: float = 0.1,
        eval_batch_size: int | None = None,
        drop_last: bool = True,
        seed: int | None = None,
        predict_on: Part = "train",
    ) -> None:
        super().__init__(seed)
        whole(sequence_length=sequence_length, batch_size=batch_size, min_count=min_count)
        whole(eval_batch_size=eval_batch_size)
        whole(0, seed=seed)
        one_of(get_args(Split), split=split)
        one_of(get_args(RareWords), rare=rare)
        one_of(get_args(Part), predict_on=predict_on)
        if not 0 <= val_fraction < 1:
            raise UsageError(f"val_fraction={val_fraction}: it must be at least 0 and below 1.")
        self.files = [files] if isinstance(files, str | os.PathLike) else files
        if self.files is not None and not self.files:
            raise UsageError("files is empty: give a text file, or leave it out for the text of the package.")
        self.sequence_length = sequence_length
        self.batch_size = batch_size
        self.min_count = min_count
        self.split: Split = split
        self.lowercase = lowercase
        self.rare: RareWords = rare
        self.val_fraction = val_fraction
        self.eval_batch_size = eval_batch_size or batch_size
        self.drop_last = drop_last
        self.predict_on = predict_on
        self._text: tuple[Vocabulary, dict[str, Tensor]] | None = None

    # ------------------------------------------------------------------ the text

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of the training part."""
        return self._read()[0]

    def rows(self, part: Part) -> Tensor:
        """The pieces of a part, ``(R, sequence_length)``; -1 behind the end of the text."""
        return self._read()[1][part]

    def _read(self) -> tuple[Vocabulary, dict[str, Tensor]]:
        if self._text is None:
            words = self._words(split=self.split, lowercase=self.lowercase)
            vocabulary, train, val = numbered(words, min_count=self.min_count, rare=self.rare, apart=self.val_fraction)
            if len(vocabulary) < 3:
                name = ", ".join(map(str, self.files or [_PACKAGED]))
                raise UsageError(
                    f"{name}: {len(vocabulary) - 1} different words occur min_count={self.min_count} times or more, "
                    "and two are needed: give a longer text, or a smaller min_count."
                )
            self._text = vocabulary, {"train": self._pieces(train), "val": self._pieces(val)}
        return self._text

    def _pieces(self, ids: Tensor) -> Tensor:
        return pieces(ids, self.sequence_length)

    def _words(self, **settings: Any) -> Iterator[str]:
        with ExitStack() as stack:
            given = self.files
            if given is None:
                given = [str(stack.enter_context(as_file(resources("sslbolts.data") / _PACKAGED)))]
            yield from texts(given, **settings)

    # ------------------------------------------------------------------ loaders

    def train_dataloader(self) -> TrainLoader:
        """Batches of pieces in random order."""
        rows = self.rows("train")
        trainer = self._current_trainer
        devices = trainer.world_size if trainer is not None else distributed.world_size()
        if self.drop_last and len(rows) < self.batch_size * devices:
            raise UsageError(
                f"the text has {len(rows):,} pieces of sequence_length={self.sequence_length} words, and a batch takes "
                f"{self.batch_size * devices:,}: give a smaller batch_size or sequence_length, or drop_last=False."
            )
        sampler = sampler_of(trainer, len(rows), self.batch_size, seed=self._settled_seed(), drop_last=self.drop_last)
        self._progress.per_epoch = len(sampler)
        return TrainLoader(TextRows(rows), sampler, position=self._position, pin_memory=_on_cuda(self._current_trainer))

    def val_dataloader(self) -> Any:
        """The part for validation, in order."""
        return self.evaluation_dataloader("val") if len(self.rows("val")) else []

    def test_dataloader(self) -> Any:
        """As :meth:`val_dataloader`."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        """The pieces of ``predict_on``, in order."""
        return self.evaluation_dataloader(self.predict_on)

    def evaluation_dataloader(self, part: Part) -> DataLoader[Any]:
        """The pieces of a part, each once and in order.

        Raises:
            UsageError: if it has none.
        """
        if not len(self.rows(part)):
            raise UsageError(f'the "{part}" part of the text is empty: give another val_fraction.')
        return DataLoader(TextRows(self.rows(part)), batch_size=self.eval_batch_size, collate_fn=_as_it_is)


def _on_cuda(trainer: Trainer | None) -> bool:
    return trainer is not None and trainer.strategy.root_device.type == "cuda"


def _as_it_is(batch: Any) -> Any:
    return batch
