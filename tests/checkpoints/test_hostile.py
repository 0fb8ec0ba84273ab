"""A checkpoint cannot make its reader import, call or open anything, whichever way it comes in."""

import contextlib
import copy
import importlib
import inspect
import json
import os
import re
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.serialization import safe_globals

from sslbolts import SimCLR, UsageError, export_backbone, load_backbone
from sslbolts._lightning import Trainer, lightning_module
from sslbolts.checkpoints.lightning_files import PlainCheckpointIO, read_plain_checkpoints
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.checks import import_named_in_file, naming
from sslbolts.cli import main
from sslbolts.cli.run.checkpoint import model_arguments, names_given
from sslbolts.cli.shared.parser import Parser
from sslbolts.cli.shared.source import add_source, encoder_of
from sslbolts.cli.training import TrainingCLI
from sslbolts.errors import argument_names
from sslbolts.evaluation import FineTune, LinearProbe, MLPProbe, load_encoder
from sslbolts.evaluation.probes.settings import ProbeSettings
from tests.helpers.trainers import quiet_trainer

TorchCheckpointIO = lightning_module("plugins.io").TorchCheckpointIO
VERBS = ("fit", "validate", "test", "predict")
TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
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
    method = SimCLR("resnet10t", stem="cifar", backbone_kwargs=TINY, hidden_dim=8, output_dim=4)
    trainer = quiet_trainer()
    trainer.strategy.connect(method)
    trainer.save_checkpoint(folder / "last.ckpt")
    content = torch.load(folder / "last.ckpt", weights_only=True)
    content["hyper_parameters"] |= changes.pop("hyper_parameters", {})
    torch.save(content | changes, folder / "last.ckpt")
    return folder / "last.ckpt"


# Every one by one verb, and one of them by every verb; the others by the others are as slow and the same.
@pytest.mark.parametrize(
    ("verb", "hparams"),
    [
        pytest.param(
            verb,
            hparams,
            id=f"{verb}-{name}",
            marks=[] if verb == "validate" or name == "a class in a module of the folder" else pytest.mark.slow,
        )
        for verb in VERBS
        for name, hparams in PARSED.items()
    ],
)
def test_the_training_verbs_refuse_it_in_one_line(verb, hparams, folder, capsys):
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


@pytest.mark.parametrize("cls", [LinearProbe, MLPProbe, FineTune])
def test_a_probe_is_read_as_a_method_is(cls, folder):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    network.num_features = 4
    made = cls(network, 3, settings=ProbeSettings("mine", lr=0.1) if cls is not FineTune else "simclr_10pct")
    content = {
        "state_dict": made.state_dict(),
        "hyper_parameters": {**made.hparams, "_class_path": "trap.X", "_instantiator": "trap.X"},
        "callbacks": {"mine": Payload()},
        "pytorch-lightning_version": "2.5.0",
    }
    torch.save(content, folder / "probe.ckpt")
    again = cls.load_from_checkpoint(folder / "probe.ckpt", **{argument_names(cls)[0]: copy.deepcopy(network)})
    assert again.settings == made.settings
    assert all(torch.equal(value, again.get_parameter(name)) for name, value in made.named_parameters())


@pytest.mark.parametrize("known_as", ["last", "hpc", "an address"])
def test_a_file_that_lightning_finds_is_not_unpickled(known_as, folder, capsys):
    path = _saved(folder, callbacks={"mine": Payload()})
    given = {"last": "last", "hpc": "hpc", "an address": f"file://{path}"}[known_as]
    if known_as == "hpc":
        path.rename(folder / "hpc_ckpt_1.ckpt")
    kept = '--trainer.callbacks=[{"class_path": "ModelCheckpoint", "init_args": {"dirpath": ".", "save_last": true}}]'
    quiet = [*QUIET[:2], *QUIET[3:], "--trainer.max_steps=1", "--trainer.default_root_dir=."]
    model = ["--model=SimCLR", "--model.backbone=resnet10t", "--model.stem=cifar"]
    assert main(["fit", *model, f"--ckpt_path={given}", kept, *quiet]) == 2
    assert "cannot be read as a checkpoint of tensors and plain data" in capsys.readouterr().err


def test_a_trainers_reader_of_its_own_is_left_to_it():
    class Own(PlainCheckpointIO):
        pass

    trainer = quiet_trainer(plugins=[Own()])
    read_plain_checkpoints(trainer)
    assert type(trainer.strategy.checkpoint_io) is Own
    trainer = quiet_trainer()
    read_plain_checkpoints(trainer)
    assert type(trainer.strategy.checkpoint_io) is PlainCheckpointIO


def test_what_is_trusted_explicitly_is_unpickled(folder):
    torch.save({"hyper_parameters": {}, "state_dict": {}, "mine": Payload()}, folder / "mine.ckpt")
    if "weights_only" in inspect.signature(TorchCheckpointIO.load_checkpoint).parameters:
        assert "mine" in PlainCheckpointIO().load_checkpoint(folder / "mine.ckpt", weights_only=False)
        (folder / "ran").unlink()


@pytest.mark.parametrize("name", ["pipe.ckpt", "zero.ckpt", "folder.ckpt", "hole.ckpt", "pipe.safetensors"])
def test_what_is_no_file_of_weights_is_refused_at_once(name, folder, capsys):
    path = folder / name
    if name.startswith("pipe"):
        os.mkfifo(path)
    elif name == "zero.ckpt":
        path.symlink_to("/dev/zero")
    elif name == "folder.ckpt":
        path.mkdir()
    else:
        with open(path, "wb") as file:
            file.truncate(2**42)
    readers = [load_backbone, SimCLR.load_from_checkpoint, PlainCheckpointIO().load_checkpoint, load_encoder]
    for read in readers:
        with pytest.raises(UsageError, match=re.escape(str(path))):
            read(path)
    assert main(["validate", f"--ckpt_path={path}", *QUIET]) == 2
    assert str(path) in capsys.readouterr().err


def test_what_is_given_explicitly_is_not_taken_from_the_file(folder):
    path = _saved(folder, hyper_parameters=HPARAMS["a class in a module of the folder"])
    given = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1"]
    assert main(["validate", f"--ckpt_path={path}", *given, *QUIET]) == 0


MINE = """
import torch
from sslbolts import SimCLR
class Mine(torch.optim.SGD): pass
class Method(SimCLR):
    def forward(self, x): return 2 * super().forward(x)
"""


@pytest.fixture
def mine(folder, monkeypatch):
    """A module of the user's, which is imported already."""
    (folder / "mine.py").write_text(MINE)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield importlib.import_module("mine")
    monkeypatch.delitem(sys.modules, "mine")


def test_an_optimizer_of_ones_own_is_made_where_the_user_names_it(folder, mine):
    path = _saved(folder, hyper_parameters={"optimizer": {"class_path": "mine.Mine", "init_args": {"lr": 0.25}}})
    with pytest.raises(UsageError, match=r"the class mine\.Mine, .*or name it, torch.*add_safe_globals\(\[Mine\]\)"):
        SimCLR.load_from_checkpoint(path)
    with safe_globals([mine.Mine]):
        assert SimCLR.load_from_checkpoint(path).optimizer.lr == 0.25
    with safe_globals([(mine.Mine, "before.Mine")]), pytest.raises(UsageError, match=r"class mine\.Mine"):
        SimCLR.load_from_checkpoint(path)
    assert SimCLR.load_from_checkpoint(path, optimizer=partial(mine.Mine, lr=0.5)).optimizer.lr == 0.5


def test_what_an_allowed_package_imports_is_not_its_own():
    for path in ("sslbolts._lightning.LightningModule", "torch.fx.GraphModule", "mine.Method"):
        with pytest.raises(UsageError):
            import_named_in_file(path, nn.Module)
    with pytest.raises(UsageError, match=r"torch\.nn\.Linear, which a file names, is no Optimizer"):
        import_named_in_file("torch.nn.Linear", torch.optim.Optimizer)


def test_a_method_of_ones_own_is_read_where_the_user_names_it(folder, mine, capsys):
    path = _saved(folder, sslbolts_class="mine.Method")
    with pytest.warns(UserWarning, match=r"is of mine\.Method, a class that no file may name: its backbone alone is"):
        alone = load_encoder(path, device="cpu")
    with safe_globals([mine.Method]):
        whole = load_encoder(path, device="cpu")
    assert (alone.name, whole.name) == ("last", "Method")
    image = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(whole.network(image), 2 * alone.network(image))

    assert main(["validate", f"--ckpt_path={path}", *QUIET]) == 2
    assert "names the class mine.Method" in capsys.readouterr().err
    assert main(["validate", f"--ckpt_path={path}", "--model=mine.Method", *QUIET]) == 0


@pytest.mark.parametrize(("given", "name"), [("mine.Method", "Method"), (None, "last")])
def test_the_other_verbs_are_told_it_by_an_option(given, name, folder, mine):
    _saved(folder, sslbolts_class="mine.Method")
    parser = Parser("evaluate")
    add_source(parser)
    config = parser.parse(["last.ckpt", "--device=cpu", *([] if given is None else ["--model", given])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if given is None else "error")
        assert encoder_of(config).name == name
    config.model = "sslbolts.BYOL"
    warnings.simplefilter("ignore")
    with pytest.raises(UsageError, match=r"^--model sslbolts\.BYOL: .*leave --model out"):
        encoder_of(config)


def test_a_configuration_that_the_user_gives_names_what_is_in_it(folder, mine):
    path = _saved(folder, hyper_parameters={"optimizer": {"class_path": "mine.Mine", "init_args": {"lr": 0.25}}})
    (folder / "run.yaml").write_text("model: {init_args: {optimizer: {class_path: mine.Mine}}}")
    (folder / "other.yaml").write_text("model: {init_args: {optimizer: {class_path: mine.Minerva}}}")
    for given in (["--config=run.yaml"], ["-c", "run.yaml"], ["--model.optimizer", "mine.Mine"]):
        with naming(names_given(given)):
            assert '"mine.Mine"' in model_arguments(Checkpoint.read(path))[1]
    for given in ([], ["--config=other.yaml"], ["--config"], ["-c", "none.yaml"]):
        with naming(names_given(given)), pytest.raises(UsageError, match=r"the class mine\.Mine"):
            model_arguments(Checkpoint.read(path))


@pytest.mark.parametrize("given", [["--config=run.yaml"], ["--model.method=mine.Method"]])
def test_a_run_with_a_method_and_an_optimizer_of_ones_own_is_made_and_resumed(given, folder, monkeypatch):
    (folder / "mine.py").write_text(MINE)
    network = {"backbone": "resnet10t", "stem": "cifar"}
    own = {"method": {"class_path": "mine.Method"}, "optimizer": {"class_path": "mine.Mine", "init_args": {"lr": 0.1}}}
    (folder / "run.yaml").write_text(json.dumps({"model": {"init_args": own}}))
    words = ["--model=SemiSupervised", *(f"--model.{name}={value}" for name, value in network.items()), *given]
    monkeypatch.setattr(TrainingCLI, "fit", lambda self, **_: made.append(self.model))
    made = []
    assert main(["fit", *words, *QUIET, "--data.labels_per_class=2"]) == 0
    assert type(made[0].method).__name__ == "Method"
    monkeypatch.delitem(sys.modules, "mine")
    content = {"sslbolts_class": "sslbolts.SemiSupervised", "state_dict": {}, "hyper_parameters": {**network, **own}}
    torch.save(content, folder / "last.ckpt")
    resumed = [*words, "--model.optimizer=mine.Mine", "--ckpt_path=last.ckpt"]
    assert main(["fit", *resumed, *QUIET, "--data.labels_per_class=2"]) == 0
    assert type(made[1].method).__name__ == "Method"
    monkeypatch.delitem(sys.modules, "mine")


@pytest.mark.skipif(
    "weights_only" not in inspect.signature(Trainer.validate).parameters, reason="an option of Lightning 2.6 and newer"
)
def test_a_configuration_does_not_let_a_checkpoint_run_code(folder, capsys):
    path = _saved(folder, callbacks={"mine": Payload()})
    (folder / "run.yaml").write_text(f"model: SimCLR\nckpt_path: {path}\nweights_only: false\n")
    assert main(["validate", "--config=run.yaml", *QUIET]) == 2
    assert "say --weights_only=false on the command line yourself" in capsys.readouterr().err
