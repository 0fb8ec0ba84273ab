"""The arguments of a method on the command line: each has its text and its default, those of its base too."""

import inspect
import json
import re

import pytest
import yaml

from sslbolts import METHODS, SSLModule
from sslbolts._lightning import lightning_module
from sslbolts.cli import main, training
from sslbolts.cli.training import TrainingCLI
from sslbolts.methods import get_method
from sslbolts.networks.backbones import NetworkArguments
from sslbolts.optim import OptimizerSpec

EMPTY = inspect.Parameter.empty


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["SimCLR", "DINO"])
def test_help_names_every_argument_with_its_text(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["fit", "--model.help", name]) == 0
    texts = dict(re.findall(r"^  --model\.(\w+) \S+\s+([^\n]*)", capsys.readouterr().out, flags=re.MULTILINE))
    arguments = [*inspect.signature(get_method(name)).parameters, *NetworkArguments.__annotations__]
    for argument in arguments:
        if argument != "network":
            assert re.match(r"(?!see)\S.*\S \(type: ", texts[argument]), argument
    assert texts["backbone"].startswith("timm or torchvision name, or a module")
    assert texts["in_chans"] == "channels of the images. (type: int, default: 3)"


@pytest.mark.parametrize("name", list(METHODS))
def test_a_printed_configuration_has_every_default(name, capsys):
    assert main(["fit", "--model", name, *TEACHER.get(name, []), "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]
    base = inspect.signature(SSLModule).parameters
    of_network = NetworkArguments.__annotations__ if METHODS[name].learns_from == "images" else ()
    shared = {key: base[key].default for key in of_network}
    own = {
        key: p.default for key, p in inspect.signature(get_method(name)).parameters.items() if p.default is not EMPTY
    }
    for argument, default in {**shared, **own}.items():
        if argument != "optimizer":
            assert printed[argument] == (list(default) if isinstance(default, tuple) else default), argument
    made, default = (OptimizerSpec(optimizer).plain for optimizer in (printed["optimizer"], own["optimizer"]))
    assert json.loads(json.dumps(made)) == json.loads(json.dumps(default))


@pytest.mark.parametrize(
    "arguments", [["--model=DINO", "--data=CIFAR10Mini"], ["--model=BYOL", "--model.optimizer=Adam", "--data.seed=3"]]
)
@pytest.mark.skipif(
    not hasattr(lightning_module("cli").LightningCLI, "_dump_config"), reason="this Lightning keeps them in another way"
)
def test_a_run_keeps_the_hyperparameters_that_lightning_takes(arguments, monkeypatch):
    ours, lightnings = [], []

    class Both(TrainingCLI):
        def _dump_config(self):
            super()._dump_config()
            ours.append(self.__dict__.pop("config_dump"))
            lightning_module("cli").LightningCLI._dump_config(self)
            lightnings.append(self.config_dump)

    monkeypatch.setattr(training, "TrainingCLI", Both)
    assert main(["fit", *arguments, "--trainer.accelerator=abacus"]) == 2  # all is made but the Trainer
    assert len(ours) == 2  # model and data
    assert ours == lightnings
    assert arguments[0].endswith(ours[0]["model"]["class_path"].rpartition(".")[2])


TEACHER = {name: ["--model.teacher=resnet18"] for name in ("Distillation", "BoWNet")}
