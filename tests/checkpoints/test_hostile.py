"""A checkpoint cannot make its reader import, call or open anything, whichever way it comes in."""

import contextlib
import sys
from pathlib import Path

import pytest
import torch

from sslbolts import SimCLR, UsageError, export_backbone, load_backbone
from sslbolts.cli import main
from sslbolts.evaluation import load_encoder
from tests.helpers.trainers import quiet_trainer

VERBS = ("fit", "validate", "test", "predict")
QUIET = ["--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.fast_dev_run=1", "--data.batch_size=8"]
HPARAMS = {
    "a function that is imported already": {
        "optimizer": {"class_path": "os.system", "init_args": {"command": "touch ran"}}
    },
    "a class that is imported already": {"optimizer": {"class_path": "subprocess.Popen", "init_args": {"args": "ls"}}},
    "a function that gives a module": {
        "backbone": {
            "class_path": "torch.fx.graph_module.reduce_graph_module",
            "init_args": {"body": {}, "import_block": "open('ran', 'w')"},
        }
    },
    "a class in a module of the folder": {"optimizer": {"class_path": "trap.X", "init_args": {}}},
    "its name alone": {"optimizer": "trap.X"},
    "YAML": {"backbone": "{class_path: trap.X}"},
    "something deep inside": {"backbone_kwargs": {"act_layer": [{"class_path": "trap.X"}]}},
    "what makes the module": {"_instantiator": "trap.X", "_class_path": "trap.X"},
}
PARSED = {name: hparams for name, hparams in HPARAMS.items() if "_instantiator" not in hparams}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a module in it that leaves a file when it is imported."""
    (tmp_path / "trap.py").write_text("open('ran', 'w')\ndef X(*args, **kwargs): return args\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert "trap" not in sys.modules
    assert not (tmp_path / "ran").exists()


def _saved(folder: Path, **changes: object) -> Path:
    method, trainer = SimCLR("resnet10t", stem="cifar", hidden_dim=8, output_dim=4), quiet_trainer()
    trainer.strategy.connect(method)
    trainer.save_checkpoint(folder / "last.ckpt")
    content = torch.load(folder / "last.ckpt", weights_only=True)
    content["hyper_parameters"] |= changes.pop("hyper_parameters", {})
    torch.save(content | changes, folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("hparams", PARSED.values(), ids=PARSED)
def test_the_training_verbs_refuse_it_in_one_line(hparams, verb, folder, capsys):
    path = _saved(folder, hyper_parameters=hparams)
    assert main([verb, f"--ckpt_path={path}", *QUIET]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_a_class_is_not_imported_because_a_file_names_it(verb, folder, capsys):
    path = _saved(folder, sslbolts_class="trap.X")
    assert main([verb, f"--ckpt_path={path}", *QUIET]) == 2
    assert "a file names the class trap.X" in capsys.readouterr().err
    if verb != "fit":  # the file holds no state of a run
        assert main([verb, f"--ckpt_path={path}", "--model=SimCLR", *QUIET]) == 0


@pytest.mark.parametrize("hparams", HPARAMS.values(), ids=HPARAMS)
@pytest.mark.parametrize(
    "read",
    [
        load_backbone,
        SimCLR.load_from_checkpoint,
        lambda path: load_encoder(path, device="cpu"),
        lambda path: export_backbone(path, path.with_suffix(".safetensors")),
    ],
    ids=["load_backbone", "load_from_checkpoint", "load_encoder", "export_backbone"],
)
def test_readers_take_the_weights_or_refuse_it(read, hparams, folder):
    path = _saved(folder, hyper_parameters=hparams)
    with contextlib.suppress(UsageError):
        read(path)


def test_readers_import_no_class_because_a_file_names_it(folder):
    path = _saved(folder, sslbolts_class="trap.X")
    assert load_encoder(path, device="cpu").name == "last"  # a backbone, of an unknown method
    load_backbone(path)
    SimCLR.load_from_checkpoint(path)


def test_a_text_that_names_a_file_is_not_replaced_by_what_stands_in_it(folder):
    (folder / "resnet10t").write_text("class_path: trap.X")
    assert main(["validate", f"--ckpt_path={_saved(folder)}", *QUIET]) == 0


class Payload:
    def __reduce__(self):
        return open, ("ran", "w")


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_holds_objects_is_not_handed_on(verb, folder, capsys):
    path = _saved(folder, callbacks={"mine": Payload()})
    assert main([verb, f"--ckpt_path={path}", *QUIET]) == 2
    assert "holds more than tensors and plain data: " in capsys.readouterr().err


@pytest.mark.parametrize("read", [load_backbone, SimCLR.load_from_checkpoint])
def test_objects_in_a_file_are_never_made(read, folder):
    read(_saved(folder, callbacks={"mine": Payload()}))


def test_what_is_given_explicitly_is_not_taken_from_the_file(folder):
    path = _saved(folder, hyper_parameters=HPARAMS["a class in a module of the folder"])
    given = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1"]
    assert main(["validate", f"--ckpt_path={path}", *given, *QUIET]) == 0


def test_an_optimizer_that_the_program_has_imported_may_be_named(folder, monkeypatch):
    (folder / "mine.py").write_text("import torch\nclass Mine(torch.optim.SGD): pass\n")
    path = _saved(folder, hyper_parameters={"optimizer": {"class_path": "mine.Mine", "init_args": {"lr": 0.25}}})
    with pytest.raises(UsageError, match=r"a file names the class mine\.Mine.*import mine first"):
        SimCLR.load_from_checkpoint(path)
    import mine

    assert SimCLR.load_from_checkpoint(path).optimizer.lr == 0.25
    monkeypatch.delitem(sys.modules, mine.__name__)
