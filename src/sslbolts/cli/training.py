"""``sslbolts fit|validate|test|predict``: LightningCLI in subclass mode, with short names and one-line errors."""

import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]
from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]
from jsonargparse.typing import NonNegativeInt

from sslbolts._lightning import (
    LIGHTNING,
    LightningDataModule,
    LightningModule,
    MisconfigurationException,
    lightning_module,
    rank_zero_info,
)
from sslbolts.callbacks import NanGuard, RunRecord, SaveOnSignal
from sslbolts.callbacks.signals import ended_by_signals
from sslbolts.checkpoints.lightning_files import read_plain_checkpoints
from sslbolts.checks import naming
from sslbolts.cli.run import checkpoint, standard
from sslbolts.cli.run.accidents import accidents_explained
from sslbolts.cli.run.closing import closing_lines
from sslbolts.cli.run.config_file import ConfigFile
from sslbolts.cli.run.earlier_runs import earlier_run_kept
from sslbolts.cli.run.feature_file import FeatureFile
from sslbolts.cli.run.logs import log_apart, log_nowhere
from sslbolts.cli.run.nothing_left import nothing_left_said
from sslbolts.cli.run.passed_on import Parser
from sslbolts.cli.run.rewinds import Rewinds
from sslbolts.cli.shared.checks import check_places, check_seed
from sslbolts.cli.shared.explain import cause_of
from sslbolts.cli.shared.names import expand
from sslbolts.cli.shared.parser import parse
from sslbolts.errors import UsageError
from sslbolts.methods import METHODS, get_method

__all__ = ["TrainingCLI", "main"]

_NOT_FROM_THE_COMMAND_LINE = {
    "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule"},
    "validate": {"model", "dataloaders", "datamodule"},
    "test": {"model", "dataloaders", "datamodule"},
    "predict": {"model", "dataloaders", "datamodule"},
}


_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is eight times as fast, and not everywhere

_MISTAKES = (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError)
"""Exceptions of the Trainer for values that only it can check."""


def main(argv: Sequence[str]) -> int:
    """Carry out one of the four verbs; ``argv`` begins with it.

    Raises:
        UsageError: for a user's mistake.
    """
    _make_short_names_known()
    standard.without_advertising()
    rewinds = Rewinds()
    try:
        while not rewinds.is_done:
            with rewinds.taken():
                TrainingCLI(argv[0], [*argv[1:], *rewinds.arguments], rewinds)
    except MisconfigurationException as error:
        raise UsageError(str(error)) from error
    return 0


def _make_short_names_known() -> None:
    """In YAML, a class that has been imported can be named without its module."""
    import sslbolts.callbacks
    import sslbolts.data

    for module in (sslbolts.callbacks, sslbolts.data):
        for name in module.__all__:
            getattr(module, name)
    for name in METHODS:
        get_method(name)


class TrainingCLI(lightning_module("cli").LightningCLI):  # type: ignore[misc]
    """LightningCLI for one verb.

    The values of ``--ckpt_path`` stand between the defaults and what is given explicitly, in a YAML file or on the
    command line; Lightning would let the checkpoint win over both.

    Args:
        verb: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        arguments: what follows it.
        rewinds: of a fit that diverges; it is told how many are allowed.
    """

    def __init__(self, verb: str, arguments: Sequence[str], rewinds: Rewinds | None = None) -> None:
        self.verb = verb
        self._rewinds = rewinds or Rewinds()
        self._given = [verb, *arguments]
        expanded = expand(arguments, configs=True)
        with naming(checkpoint.names_given(expanded)):
            super().__init__(
                save_config_callback=ConfigFile,
                save_config_kwargs={"overwrite": True},  # of the run that this one goes on with
                trainer_defaults={"default_root_dir": "runs"},
                seed_everything_default=0,
                args=[verb, *expanded],
                auto_configure_optimizers=False,
            )

    def subcommands(self) -> dict[str, set[str]]:
        return {self.verb: _NOT_FROM_THE_COMMAND_LINE[self.verb]}

    def init_parser(self, **kwargs: Any) -> Any:
        header = [f"{LIGHTNING}=={sys.modules[LIGHTNING].__version__}"]
        # Lightning 2.5.0 has no parser_class.
        own = {"prog": "sslbolts", "exit_on_error": False, "allow_abbrev": False, "dump_header": header}
        parser = Parser(**{**own, **kwargs})  # a verb's options are in a parser of their own, made here, too
        parser.add_argument("-c", "--config", action=ActionConfigFile, help="configuration in YAML or JSON")
        return parser

    def add_core_arguments_to_parser(self, parser: Any) -> None:
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in self.trainer_defaults.items()})
        # Not required by the parser, which could only say so in its own words; and a checkpoint can name its class.
        for kind, name, words in (
            (LightningModule, "model", "a method of `sslbolts methods` or a class path, and --model.ARGUMENT"),
            (LightningDataModule, "data", "name or class path of a DataModule, and --data.ARGUMENT"),
        ):
            parser.add_subclass_arguments(kind, name, as_group=False, fail_untyped=False, required=False, help=words)
        parser.set_defaults({"data": {"class_path": "sslbolts.data.CIFAR10MiniDataModule"}})

    def add_arguments_to_parser(self, parser: Any) -> None:
        parser.add_argument(
            "--rewinds",
            type=NonNegativeInt,
            default=0,
            help="how often a fit that diverges goes on from its last good checkpoint with half the learning rate",
        )  # the other verbs take it too, as they take all of a run's config.yaml
        for name, kind in standard.MONITORS.items():
            words = f"a {kind.__name__}; null takes it out; --monitors.{name}.ARGUMENT changes it"
            parser.add_argument(f"--monitors.{name}", type=kind | None, default=None, help=words)
        if self.verb == "fit" and not _given(self._given, "--config", "-c"):
            model, data, root = (_option(self._given, option) for option in ("--model", "--data", "--data.root"))
            stored = checkpoint.read(_option(self._given, "--ckpt_path"))
            model = model or (stored.class_path if stored else None)
            parser.set_defaults(standard.defaults(standard.name_of_run(model, data, root)))
        if self.verb == "predict":
            parser.add_argument(
                "--output", default="features.npz", help="where the features go: a file ending in .npz or .parquet"
            )

    def parse_arguments(self, parser: Any, args: list[str]) -> None:
        verb, *explicit = args
        path = _option(explicit, "--ckpt_path")
        stored = checkpoint.read(path)
        arguments = [*checkpoint.model_arguments(stored, explicit), *explicit]
        config = self._parsed(parser, arguments, explicit)
        if path != config.ckpt_path or (stored and not stored.find_class(LightningModule)):  # in a file, or to be named
            stored = checkpoint.read(config.ckpt_path)
            class_path = config.model.class_path if config.model else None
            arguments = [*checkpoint.model_arguments(stored, explicit, class_path), *explicit]
            config = self._parsed(parser, arguments, explicit)
        self.config = Namespace({"subcommand": verb, verb: config})  # type: ignore[no-untyped-call]
        checkpoint.check_trust(explicit, config.get("weights_only"))
        checkpoint.check(stored, config.model.class_path if config.model else None, config.get("weights_only"))
        if config.model is None:
            raise UsageError(
                "there is no model: give --model, a method's name such as SimCLR (`sslbolts methods` lists them) or "
                "the class path of a LightningModule, or a configuration with --config."
            )
        if config.ckpt_path == "best":
            raise UsageError("--ckpt_path best is known only to the run that made it: give the file of the checkpoint.")
        check_seed("--seed_everything", config.seed_everything)
        if self.verb != "fit" and log_nowhere(config.trainer):
            self.save_config_callback = None
        check_places(config.trainer)

    def _parsed(self, parser: Any, arguments: list[str], words: list[str]) -> Any:
        """Values of the verb's options, read once by its own parser; that of all verbs would check them once more."""
        of_the_verb = self._subcommand_parsers[self.verb]
        if _given(words, "--print_config"):  # only that of all verbs prints it
            parse(parser, [self.verb, *arguments], of_the_verb, words=words)
        return parse(of_the_verb, arguments, of_the_verb, words=words)

    def _parse_ckpt_path(self) -> None:
        """Lightning lets the checkpoint's values win over explicit ones here; :meth:`parse_arguments` has used them."""

    def _dump_config(self) -> None:
        """What the hyperparameters are taken from; Lightning would check each value a second time for it."""
        if not hasattr(self, "config_dump"):
            text = self.parser.dump(
                self.config, skip_link_targets=False, skip_unset=False, skip_validation=True, format="yaml"
            )
            self.config_dump: dict[str, Any] = yaml.load(text, Loader=_YAML_LOADER)[self.verb]

    def before_instantiate_classes(self) -> None:
        config = self.config[self.verb]
        if self.verb == "predict":
            FeatureFile.check(config.output)
        if self.verb != "fit":
            log_apart(config.trainer, self.verb)
        if self.verb != "fit" and config.ckpt_path is None and not _pretrained(config.model):
            warnings.warn(
                f"sslbolts {self.verb} without --ckpt_path uses the weights that the model has when it is built.",
                stacklevel=2,
            )

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            missing = cause_of(error, ModuleNotFoundError)
            if missing is None or cause_of(error, UsageError):
                raise
            owners = re.findall(r"Problem with given class_path '([\w.]+)'", str(error)) or ["a class"]
            raise UsageError(f"{owners[-1]} cannot be made: {missing}") from error

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        settings = self.config_init[self.verb]
        given = settings.trainer.callbacks or []
        settings.trainer.callbacks = given = list(given) if isinstance(given, list | tuple) else [given]
        monitors, left_out = standard.that_fit(
            vars(settings.monitors), settings.trainer, data=settings.data, method=settings.model
        )
        given += monitors
        if left_out:
            rank_zero_info(f"Left out, for what the data lacks: {'; '.join(left_out)}.")
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except _MISTAKES as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"the Trainer cannot be made: {error}") from error
        read_plain_checkpoints(trainer)
        return trainer

    def before_fit(self) -> None:
        command = ["sslbolts", *self._given]
        if not any(isinstance(callback, NanGuard) for callback in self.trainer.callbacks):
            self.trainer.callbacks.insert(0, NanGuard())  # before the monitors and what saves
        self._rewinds.allowed = self.config[self.verb].rewinds
        self.trainer.callbacks += [RunRecord(command), *self._rewinds.callbacks]
        if self.config[self.verb].trainer.log_every_n_steps is None:
            self.trainer.callbacks.append(standard.LoggingInterval())
        given = [callback for callback in self.trainer.callbacks if isinstance(callback, SaveOnSignal)]
        if not given and not self.trainer.fast_dev_run:
            self.trainer.callbacks.append(SaveOnSignal(command=command))
        for callback in given:
            callback.command = callback.command or command

    def fit(self, **arguments: Any) -> None:
        """Training, called by Lightning in place of ``Trainer.fit``."""
        kept = earlier_run_kept(self.trainer, arguments.get("ckpt_path"))
        ended = nothing_left_said(self.trainer)
        with ended_by_signals(self.trainer), kept, accidents_explained(self.trainer), ended:
            self.trainer.fit(**arguments)
        if not self.trainer.fast_dev_run:
            lines = closing_lines(self.trainer, self.model)
            if self.trainer.is_global_zero:
                print("\n" + "\n".join(lines))

    def before_predict(self) -> None:
        self.trainer.callbacks.append(FeatureFile(self.config[self.verb].output))
        self.config_init[self.verb].return_predictions = False  # they are in the file


def _option(arguments: list[str], name: str) -> str | None:
    """The last value of an option on a command line; None where there is none."""
    value = None
    for position, argument in enumerate(arguments):
        if argument == name and position + 1 < len(arguments):
            value = arguments[position + 1]
        elif argument.startswith(f"{name}="):
            value = argument.partition("=")[2]
    return None if value == "null" else value  # as in YAML


def _given(arguments: list[str], *names: str) -> bool:
    return any(argument.partition("=")[0] in names for argument in arguments)


def _pretrained(model: Any) -> bool:
    kwargs = (model.get("init_args") or {}).get("backbone_kwargs") or {}
    return bool(kwargs.get("pretrained") or kwargs.get("weights"))
