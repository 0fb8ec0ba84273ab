"""In YAML and on the command line a class path is a class of its parameter's type, and a word is never a file."""

import inspect
import os
import sys

import pytest
import yaml
from jsonargparse import Namespace

from sslbolts import METHODS, UsageError
from sslbolts._lightning import lightning_module
from sslbolts.cli import main
from sslbolts.cli.shared.classes import check_classes
from sslbolts.methods.registry import get_method

TRAP = """
import torch
from torch import nn
from sslbolts._lightning import lightning_module
Logger = lightning_module("loggers").Logger
open("imported", "a").close()
def network(width: int = 2) -> nn.Module: open("ran", "w")
def images(width: int = 2) -> torch.utils.data.Dataset: open("ran", "w")
def logger() -> Logger: open("ran", "w")
def optimizer(params): open("ran", "w")
def sgd(params) -> torch.optim.SGD: return torch.optim.SGD(params, lr=0.5)
def own(path): return path
class Plain:
    def __init__(self, **anything): open("ran", "w")
class Called(Plain):
    def __call__(self, batch) -> torch.Tensor: return batch[1]
class Net(nn.Module):
    def __init__(self, part=None): super().__init__()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a module whose functions and classes leave a file when they are called."""
    (tmp_path / "parts.py").write_text(TRAP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("parts", None)
    assert not (tmp_path / "ran").exists()


def _made(path: str, **arguments: object) -> Namespace:
    return Namespace(class_path=path, init_args=Namespace(**arguments))


def _model(**arguments: object) -> Namespace:
    return Namespace(model=_made("sslbolts.SimCLR", **arguments))


def _callback(**arguments: object) -> Namespace:
    return Namespace(trainer=Namespace(callbacks=[_made("sslbolts.callbacks.KNNMonitor", **arguments)]))


MIXED = _made("torch.distributed.fsdp.MixedPrecision", keep_low_precision_grads=True)
WRONG = {
    "a function of the system": _model(optimizer=_made("os.system", command="touch ran")),
    "a function that says it gives a network": _model(backbone=_made("parts.network", width=3)),
    "a class that makes processes": _model(backbone_kwargs={"act_layer": _made("subprocess.Popen", args="ls")}),
    "deep in a list": _model(backbone_kwargs={"layers": [{"x": [{"class_path": "parts.Plain", "init_args": {}}]}]}),
    "a class of another type": _model(optimizer=_made("torch.nn.Linear", in_features=1)),
    "a module of another type": Namespace(data=_made("sslbolts.SimCLR")),
    "a function that says it gives a logger": Namespace(trainer=Namespace(logger=_made("parts.logger"))),
    "a plugin": Namespace(trainer=Namespace(plugins=[_made("parts.Plain")])),
    "views": Namespace(data=_made("sslbolts.data.CIFAR10MiniDataModule", views=_made("parts.Plain"))),
    "where there is no type": _callback(bank=_made("parts.Plain")),
}


@pytest.mark.parametrize("config", WRONG.values(), ids=WRONG)
def test_what_is_not_of_its_parameters_type_is_refused_before_anything_is_made(config, folder):
    with pytest.raises(UsageError, match=r"^--\w+[\w.]*: \S+ is (no class|not of the type)"):
        check_classes(config)


def test_a_function_says_that_it_returns_what_is_wanted(folder):
    import parts

    for function in (os.system, parts.optimizer, parts.network):
        with pytest.raises(UsageError, match=r"--model\.optimizer: the function .* is not known to return Optimizer"):
            check_classes(_model(optimizer=function))
    check_classes(_model(optimizer=parts.sgd))
    with pytest.raises(UsageError, match="is not known to return Tensor"):
        check_classes(_callback(targets=os.system))


def test_what_is_of_its_parameters_type_is_left_alone(folder):
    check_classes(
        _model(optimizer=_made("torch.optim.SGD", lr=0.1), backbone=_made("parts.Net", part=_made("parts.Plain")))
    )
    check_classes(_model(backbone_kwargs={"act_layer": _made("torch.nn.GELU")}))
    check_classes(_callback(targets=_made("parts.Called")))
    plugins = lightning_module("plugins.environments")
    check_classes(Namespace(trainer=Namespace(plugins=[_made(f"{plugins.__name__}.SLURMEnvironment")])))
    strategy = _made(f"{lightning_module('strategies').__name__}.FSDPStrategy", mixed_precision=MIXED)
    check_classes(Namespace(trainer=Namespace(strategy=strategy)))
    views = Namespace(views=[_made("sslbolts.transforms.View", size=32)])  # as a dataclass's arguments are parsed
    check_classes(Namespace(data=_made("sslbolts.data.CIFAR10MiniDataModule", views=views)))
    transform = _made("torchvision.transforms.Compose", transforms=[_made("torchvision.transforms.ToTensor")])
    images = _made("torchvision.datasets.FakeData", transform=transform)
    check_classes(Namespace(data=_made("sslbolts.data.DatasetDataModule", train=images)))


@pytest.mark.parametrize("verb", [["fit", "--model=SimCLR"], ["evaluate", "knn", "timm/resnet10t", "--untrained"]])
def test_the_command_line_refuses_it_in_one_line(verb, folder, capsys):
    given = '{"class_path": "parts.images", "init_args": {"width": 3}}'
    assert main([*verb, "--data=DatasetDataModule", f"--data.train={given}"]) == 2
    assert capsys.readouterr().err == "error: --data.train: parts.images is no class.\n"


def test_a_word_is_never_replaced_by_a_file_of_that_name(folder, capsys):
    given = {
        "trainer": {"accelerator": "cpu", "strategy": "auto", "profiler": "simple"},
        "model": {
            "class_path": "sslbolts.SimCLR",
            "init_args": {"backbone": "resnet18", "optimizer": "torch.optim.SGD"},
        },
        "data": {"class_path": "sslbolts.data.CIFAR10MiniDataModule", "init_args": {"views": "simclr"}},
    }
    words = ["resnet18", "simclr", "auto", "simple", "cpu", "torch.optim.SGD", "sslbolts.BYOL", "BYOL"]
    for word in words:
        (folder / word).write_text("class_path: parts.Plain\n")
    (folder / "run.yaml").write_text(yaml.safe_dump(given))
    for more in ([], ["--model=BYOL", "--model.backbone", "resnet18", "--data.views=simclr"]):
        assert main(["fit", "--config=run.yaml", *more, "--print_config"]) == 0
        printed = yaml.safe_load(capsys.readouterr().out)
        assert {name: printed["trainer"][name] for name in given["trainer"]} == given["trainer"]
        assert printed["model"]["init_args"]["backbone"] == "resnet18"
        assert printed["data"]["init_args"]["views"] == "simclr"
    (folder / "run.yaml").write_text("model: BYOL")
    (folder / "BYOL").write_text("class_path: sslbolts.SimCLR")
    assert main(["fit", "--config=run.yaml"]) == 2
    assert "BYOL is a file in this folder" in capsys.readouterr().err
    (folder / "model.yaml").write_text("class_path: sslbolts.SimCLR")
    assert main(["fit", "--model=model.yaml", "--print_config"]) == 0
    assert "class_path: sslbolts.SimCLR" in capsys.readouterr().out


def test_a_dataset_is_made_with_its_arguments(capsys):
    images = '{"class_path": "torchvision.datasets.FakeData", "init_args": {"size": 20}}'
    given = ["--data=DatasetDataModule", f"--data.train={images}", "--data.val=torchvision.datasets.FakeData"]
    assert main(["fit", "--model=SimCLR", *given, "--data.val.size=10", "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert [printed[name]["init_args"]["size"] for name in ("train", "val")] == [20, 10]


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_own_defaults_are_its_own(name):
    """Also an optimizer that a method makes by a function without an annotation."""
    own = {
        argument.name: argument.default
        for argument in inspect.signature(get_method(name).__init__).parameters.values()
        if argument.default is not argument.empty
    }
    assert callable(own["optimizer"])
    check_classes(Namespace(model=Namespace(class_path=f"sslbolts.{name}", init_args=Namespace(**own))))
    other = Namespace(**own | {"optimizer": lambda params: print(params)})
    with pytest.raises(UsageError, match="is not known to return Optimizer"):
        check_classes(Namespace(model=Namespace(class_path=f"sslbolts.{name}", init_args=other)))


@pytest.mark.parametrize("loader", ["pandas.read_pickle", "joblib.load", "torch.load", "torch.hub.load", "pickle.load"])
def test_a_strangers_configuration_does_not_unpickle_a_strangers_images(loader, folder, capsys):
    (folder / "images" / "class").mkdir(parents=True)
    (folder / "images" / "class" / "a.pkl").write_bytes(b"cbuiltins\nopen\n(S'ran'\nS'w'\ntR.")
    images = {"class_path": "torchvision.datasets.DatasetFolder"}
    images["init_args"] = {"root": "images", "extensions": [".pkl"], "loader": loader}
    (folder / "run.yaml").write_text(
        yaml.safe_dump(
            {
                "model": "SimCLR",
                "data": {"class_path": "sslbolts.data.DatasetDataModule", "init_args": {"train": images}},
            }
        )
    )
    assert main(["fit", "--config=run.yaml", "--trainer.accelerator=cpu", "--trainer.fast_dev_run=1"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_loaders_of_torchvision_and_of_ones_own_are_called(folder):
    import parts
    from torchvision.datasets.folder import default_loader

    for loader in (default_loader, parts.own):
        check_classes(
            Namespace(
                data=_made(
                    "sslbolts.data.DatasetDataModule", train=_made("torchvision.datasets.DatasetFolder", loader=loader)
                )
            )
        )
