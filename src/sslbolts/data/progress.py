"""The place of a run in its stream of training batches."""

from typing import Any

from sslbolts._lightning import Trainer, rank_zero_info

__all__ = ["Progress"]


class Progress:
    """Counts the batches that a run has behind it, as the Trainer does, in epochs of the loader that there is now.

    The Trainer counts batches, and its count is in the checkpoint. A run resumed with another batch size, other devices
    or other images has another number of batches per epoch, by which that count would fall into the middle of some
    epoch, and every later epoch would be made of parts of two. Here the next epoch begins at its beginning.
    """

    def __init__(self) -> None:
        self.per_epoch = 0  # batches of an epoch, of the loader made last
        self._offset = 0  # from the Trainer's count to the place in the stream
        self._since = 0  # the Trainer's count when that was settled
        self._restored: tuple[int, int] | None = None  # per_epoch and offset of the checkpoint, until they are used

    def state_dict(self) -> dict[str, int]:
        """The state that a resumed run needs."""
        return {"batches_per_epoch": self.per_epoch, "batches_offset": self._offset}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what the checkpoint says, if it says so."""
        if state.get("batches_per_epoch"):
            self._restored = state["batches_per_epoch"], state["batches_offset"]

    @staticmethod
    def begins(trainer: Trainer | None) -> bool:
        """True if a run starts, or would be taken up from a checkpoint; not where a Trainer goes on with its own."""
        return trainer is None or not trainer.fit_loop.epoch_loop.batch_progress.total.ready

    def position(self, trainer: Trainer | None) -> tuple[int, int] | None:
        """Batches that training has behind it: in the stream, and in the epoch; None where nothing is trained."""
        if trainer is None or not trainer.training:
            return None
        batches = trainer.fit_loop.epoch_loop.batch_progress
        done, in_epoch = batches.total.completed, batches.current.ready
        if done < self._since:  # a new run
            self._offset = self._since = 0
        if self._restored is not None:
            in_epoch = self._settle(done, in_epoch, *self._restored)
            self._restored = None
        return done + self._offset, in_epoch

    def _settle(self, done: int, in_epoch: int, per_epoch: int, offset: int) -> int:
        """The place in the stream of a checkpoint's run, in epochs of now; returns the batches of the current epoch."""
        self._since, self._offset = done, offset
        if per_epoch == self.per_epoch:
            return in_epoch
        in_epoch = min(in_epoch, self.per_epoch)  # the Trainer takes the others of the epoch
        self._offset = (done + offset) // per_epoch * self.per_epoch + in_epoch - done
        if done:
            rest = ", of which some images come twice and others not at all" if in_epoch else ""
            rank_zero_info(
                f"The checkpoint's epochs had {per_epoch:,} batches, now they have {self.per_epoch:,}: training goes "
                f"on {'with the rest' if rest else 'at the beginning'} of an epoch{rest}."
            )
        return in_epoch
