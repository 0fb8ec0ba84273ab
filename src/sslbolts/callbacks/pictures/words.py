"""Words beside their nearest words, drawn at validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslbolts._lightning import Callback, LightningModule, Trainer
from sslbolts.callbacks.pictures.shared.publisher import Publisher
from sslbolts.checks import whole
from sslbolts.distributed import rank
from sslbolts.errors import UsageError
from sslbolts.pictures.words import draw_nearest_words

__all__ = ["NearestWords"]

_AMONG = 300  # the most frequent words, of which some are shown


class NearestWords(Callback):
    """Draws words beside those whose vectors point most nearly in the same direction.

    Works on any module with ``words``, a list, and a method ``nearest_words(words, k)`` that gives for each word pairs
    of another and its cosine; Word2Vec and MaskedLanguageModel have both.

    Args:
        words: the words; a number takes so many, evenly from the 300 most frequent.
        k: nearest words of each.
        every_n_epochs: draw when so many epochs are over, and after the last.
        folder: where ``pictures/nearest_words-epoch0010.png`` goes; None is the run's folder.

    Raises:
        UsageError: for a value out of range; when the run starts, if the module has no words, or not these.

    Example:
        >>> NearestWords(["queen", "rabbit"], every_n_epochs=5).publisher.name
        'nearest_words'
    """

    def __init__(
        self,
        words: int | Sequence[str] = 12,
        k: int = 6,
        *,
        every_n_epochs: int = 10,
        folder: str | Path | None = None,
    ) -> None:
        if isinstance(words, int):
            whole(words=words)
        elif isinstance(words, str) or not words:
            raise UsageError(f"words={words!r}: give a list of words, or how many.")
        whole(k=k)
        if k > 20 or (isinstance(words, int) and words > 50):
            raise UsageError(f"words={words}, k={k}: a picture has room for 50 words and 20 nearest ones of each.")
        self.chosen = words
        self.k = k
        self.publisher = Publisher("nearest_words", every_n_epochs=every_n_epochs, folder=folder)
        self._due = False

    @property
    def state_key(self) -> str:
        return self._generate_state_key(name=self.publisher.name)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._queries(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.publisher.begin(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._due = not trainer.sanity_checking and self.publisher.due(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._due:
            return
        self._due = False
        path = self.publisher.path(trainer)
        if rank() == 0:
            with self.publisher.attempt():
                queries = self._queries(pl_module)
                module: Any = pl_module
                title = f"Nearest words after {self.publisher.passed(trainer)} epochs"
                figure = draw_nearest_words(queries, module.nearest_words(queries, self.k), title=title)
                self.publisher.publish(trainer, figure, path)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_validation_epoch_start(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_validation_epoch_end(trainer, pl_module)

    def _queries(self, module: Any) -> list[str]:
        known = getattr(module, "words", None)
        if not known or not callable(getattr(module, "nearest_words", None)):
            raise UsageError(
                f"NearestWords draws words, and {type(module).__name__} has none (words, nearest_words(words, k)): "
                "leave it out."
            )
        if not isinstance(self.chosen, int):
            module.nearest_words(self.chosen, 1)  # it names those that it does not know
            return list(self.chosen)
        frequent = known[1 : 1 + _AMONG]
        count = min(self.chosen, len(frequent))
        return [frequent[place * len(frequent) // count] for place in range(count)]
