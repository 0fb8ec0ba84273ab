"""The base of what DeepCluster and DeepCluster-v2 remember: the clusters of all training images."""

from torch import Tensor

from sslbolts._lightning import Trainer
from sslbolts.errors import UsageError
from sslbolts.methods.training_features import number_of_training_images
from sslbolts.training.facts import steps_done
from sslbolts.training.resized import ImageMemory

__all__ = ["ClusterMemory"]


class ClusterMemory(ImageMemory):
    """The clusters of all training images, found anew at the start of every epoch.

    Attributes:
        epoch: of which the clusters are; -1 before the first.
    """

    epoch: Tensor

    def prepare(self, trainer: Trainer) -> None:
        """Make room for the training images.

        Raises:
            UsageError: if there are clusters already, of another number of images.
        """
        images = number_of_training_images(trainer)
        if self.num_images == 0:
            self.resize(images)
        elif self.num_images != images:
            raise UsageError(
                f"there are {images:,} training images, but the clusters are of {self.num_images:,}: a run goes on "
                "only with the images that it began with."
            )

    def are_of_this_epoch(self, trainer: Trainer) -> bool:
        """True where a run is resumed in the epoch of the clusters; another fit of the same module has no step yet."""
        return int(self.epoch) == trainer.current_epoch and steps_done(trainer) > 0
