"""The configuration of a run, in its folder."""

from sslbolts._lightning import LightningModule, Trainer, lightning_module

__all__ = ["ConfigFile"]


class ConfigFile(lightning_module("cli").SaveConfigCallback):  # type: ignore[misc]
    """Lightning's ``config.yaml``, written when training starts: a run that cannot start leaves none.

    The other verbs write it where there is none.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            self.overwrite = False
            try:
                super().setup(trainer, pl_module, stage)
            except RuntimeError:  # there is one, and every process knows it
                self.already_saved = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().setup(trainer, pl_module, "fit")
