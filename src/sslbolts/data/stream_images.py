"""Images of a stream: those of a batch, and those that are yet to come."""

from torch import Tensor

from sslbolts.data.images import Label
from sslbolts.data.pixels import PixelForm

__all__ = ["HeldImages", "NamelessImages"]


class NamelessImages:
    """As many images of which none can be asked for.

    Args:
        count: how many.
        form: channels and type that they have.
    """

    labeled = True

    def __init__(self, count: int, form: PixelForm) -> None:
        self.count = count
        self.in_chans, self.dtype = form.in_chans, form.dtype

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> tuple[Tensor, Label]:
        """Refused.

        Raises:
            IndexError: always.
        """
        raise IndexError(index)


class HeldImages:
    """The images of one batch.

    Args:
        images: with their labels.
        form: channels and type that they have.
    """

    labeled = True

    def __init__(self, images: list[tuple[Tensor, Label]], form: PixelForm) -> None:
        self.images = images
        self.in_chans, self.dtype = form.in_chans, form.dtype

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[Tensor, Label]:
        """Image and label."""
        return self.images[index]
