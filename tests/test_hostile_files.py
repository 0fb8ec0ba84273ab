"""Every door through which a file comes in, with every kind of file that would run code: none does, all are refused."""

import gzip
import io
import json
import os
import pickle
import socket
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import sslbolts.data as sets
from sslbolts import SimCLR, UsageError, export_backbone, load_backbone
from sslbolts.checkpoints.lightning_files import PlainCheckpointIO
from sslbolts.checkpoints.ours import Checkpoint
from sslbolts.cli import main
from sslbolts.cli.run.checkpoint import names_given
from sslbolts.data.stream import _items
from sslbolts.data.stream_shares import Share
from sslbolts.evaluation import FineTune, LinearProbe, MLPProbe, load_encoder
from sslbolts.evaluation.feature_files import load_columns
from sslbolts.methods import get_method
from sslbolts.networks.backbones import create_backbone


class Payload:
    """Leaves a file where it is unpickled."""

    def __reduce__(self):
        return open, ("ran", "w")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, in which nothing may have run in the end."""
    (tmp_path / "trap.py").write_text("open('ran', 'w')\ndef X(*args, **kwargs): return args\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert "trap" not in sys.modules
    assert not (tmp_path / "ran").exists()


def _archive(*more: str) -> bytes:
    """A file of ``torch.save`` made by hand, with other records beside the pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("data.pkl", *more):
            archive.writestr(f"archive/{name}", pickle.dumps(Payload(), 2))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def _tar() -> bytes:
    """As torch 0.1 saved."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(Payload(), 2)
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return file.getvalue()


def _saved(write, *args: object, **options: object) -> bytes:
    file = io.BytesIO()
    write(file, *args, **options) if write is not torch.save else write(*args, file, **options)
    return file.getvalue()


OBJECTS = np.array([Payload()], dtype=object)
WEIGHTS = {"conv1.weight": torch.zeros(8, 3, 3, 3)}
KINDS = {
    "a pickle": pickle.dumps(Payload()),
    "a pickle as the first Python wrote": pickle.dumps({"state_dict": WEIGHTS, "mine": Payload()}, 0),
    "of torch 1.5": _saved(
        torch.save, {"state_dict": WEIGHTS, "mine": Payload()}, _use_new_zipfile_serialization=False
    ),
    "of torch 0.1": _tar(),
    "an object of torch.save": _archive(),
    "a program of TorchScript": _archive("constants.pkl"),
    "an array of objects": _saved(np.save, OBJECTS, allow_pickle=True),
    "arrays of objects": _saved(np.savez, features=OBJECTS, targets=OBJECTS, indices=OBJECTS),
}


def _probe(cls):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    return lambda path: cls.load_from_checkpoint(path, backbone=network, num_classes=3)


READERS = {
    "load_backbone": load_backbone,
    "load_encoder": lambda path: load_encoder(path, device="cpu"),
    "export_backbone": lambda path: export_backbone(path, "out.safetensors"),
    "a method": SimCLR.load_from_checkpoint,
    "a linear probe": _probe(LinearProbe),
    "an MLP probe": _probe(MLPProbe),
    "fine-tuning": _probe(FineTune),
    "Checkpoint.read": Checkpoint.read,
    "a Trainer of the command line": PlainCheckpointIO().load_checkpoint,
    "Distillation's teacher": lambda path: get_method("Distillation")("resnet10t", teacher=str(path)),
    "BoWNet's teacher": lambda path: get_method("BoWNet")("resnet10t", teacher=str(path)),
}


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_readers_refuse_it(read, suffix, folder):
    for kind, content in KINDS.items():
        path = folder / f"{kind}{suffix}"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=kind):
            read(path)
        assert not (folder / "ran").exists(), kind


OF_TRAINING = ["--data.batch_size=8", "--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.fast_dev_run=1"]
COMMANDS = {
    **{verb: [verb, "--model=SimCLR", "--ckpt_path={}", *OF_TRAINING] for verb in ("fit", "validate", "predict")},
    "test": ["test", "--ckpt_path={}", *OF_TRAINING],
    "a teacher": ["fit", "--model=Distillation", "--model.backbone=resnet10t", "--model.teacher={}", *OF_TRAINING],
    "a configuration": ["fit", "--config={}"],
    "evaluate": ["evaluate", "knn", "{}", "--device=cpu"],
    "finetune": ["evaluate", "finetune", "{}", "--device=cpu"],
    "transfer": ["transfer", "{}", "--datasets", "CIFAR10", "--root=.", "--device=cpu"],
    "detect": ["detect", "{}", "--root=.", "--device=cpu"],
    "diagnose": ["diagnose", "{}", "--device=cpu"],
    "export": ["export", "{}", "out.safetensors"],
    "pictures": ["pictures", "{}", "--device=cpu"],
    "duplicates": ["duplicates", "{}", "--device=cpu"],
}


@pytest.mark.parametrize("kind", ["a pickle", "an object of torch.save"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands_refuse_it_in_one_line(command, kind, folder, capsys):
    (folder / "theirs.yaml").write_bytes(KINDS[kind])
    assert main([word.format("theirs.yaml") for word in command]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "theirs.yaml" in line


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_of_features_is_computed_again(kind, folder):
    (folder / "cache.safetensors").write_bytes(KINDS[kind])
    with pytest.warns(UserWarning, match="are not used, and are computed again"):
        assert load_columns(folder / "cache.safetensors", range(3), 4) is None


@pytest.mark.parametrize("kind", ["a pickle", "a pickle as the first Python wrote", "of torch 1.5"])
@pytest.mark.parametrize(
    ("name", "stored"),
    [("CIFAR10", "cifar-10-batches-py"), ("CIFAR100", "cifar-100-python"), ("STL10", "stl10_binary")],
)
def test_the_pickles_of_a_published_data_set_are_those_that_were_published(name, stored, kind, folder):
    from torchvision import datasets

    made = getattr(datasets, name)
    files = [file for file, _ in (*made.train_list, *made.test_list)] + [getattr(made, "meta", {}).get("filename")]
    (folder / stored).mkdir()
    for file in filter(None, files):
        (folder / stored / file).write_bytes(KINDS[kind])
    data = getattr(sets, f"{name}DataModule")(str(folder), num_workers=0)
    with pytest.raises(UsageError, match=f"{name} is not in root"):
        data.prepare_data()
    with pytest.raises(UsageError, match=f"{name} is not in root"):
        data.train_dataloader()


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("ending", ["pkl", "pickle", "pyd", "pth", "pyd.gz"])
def test_a_field_of_a_tar_file_is_not_unpickled(ending, trusted, folder):
    wds = pytest.importorskip("webdataset")
    content = KINDS["an object of torch.save"] if ending == "pth" else KINDS["a pickle"]
    fields = {"0.cls": b"1", f"0.{ending}": gzip.compress(content) if ending.endswith(".gz") else content}
    with tarfile.open(folder / "0.tar", "w") as tar:
        for name, field in fields.items():
            (info := tarfile.TarInfo(name)).size = len(field)
            tar.addfile(info, io.BytesIO(field))
    theirs = wds.handle_extension(ending.removesuffix(".gz"), len)  # a decoder that the user gives for it
    plain = wds.WebDataset("0.tar", shardshuffle=False).decode(*([theirs] if trusted else []))
    data = sets.StreamDataModule(plain, epoch_images=1, batch_size=1, image_size=8, num_workers=0)
    read = _items(data.train, "itself", 0, 0, Share(0, 1, 0, 1), 0)
    if trusted:
        assert len(content) in next(read).values()
        return
    with pytest.raises(UsageError, match=r"^a field .* of a tar file would be unpickled, .*only=\["):
        next(read)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_value_in_a_chunk_is_not_unpickled(trusted, folder):
    lit = pytest.importorskip("litdata")
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder / "chunks"), chunk_size=1)
    writer[0] = (1, Payload())
    writer.done()
    writer.merge()
    given = {"serializers": {"pickle": _Length()}} if trusted else {}
    stream = lit.StreamingDataset(str(folder / "chunks"), **given)
    data = sets.StreamDataModule(stream, epoch_images=1, batch_size=1, image_size=8, num_workers=0)
    read = _items(data.train, "itself", 0, 0, Share(0, 1, 0, 1), 0)
    if trusted:
        assert next(read) == (1, len(pickle.dumps(Payload())))
        return
    with pytest.raises(UsageError, match=r"^a value in a chunk of litdata would be unpickled, .*serializers="):
        next(read)


class _Length:
    """A serializer that the user gives for what is pickled."""

    def setup(self, metadata):
        pass

    def deserialize(self, data):
        return len(data)


LSUN = {"root": "."}
DATA = {
    "a cache of LSUN": {"class_path": "torchvision.datasets.LSUN", "init_args": LSUN},
    "one of its classes": {"class_path": "torchvision.datasets.lsun.LSUNClass", "init_args": LSUN},
    "a pipe of files": {"class_path": "torch.utils.data.datapipes.iter.RoutedDecoder", "init_args": {"datapipe": []}},
    "a program": {"class_path": "webdataset.WebDataset", "init_args": {"urls": "pipe:touch ran"}},
    "a program, by timm": {"class_path": "timm.data.ImageDataset", "init_args": {"root": "pipe:touch ran"}},
    "chunks": {"class_path": "litdata.StreamingDataset", "init_args": {"input_dir": "."}},
    "a package nobody has heard of": {"class_path": "surprise.Images", "init_args": {"root": "."}},
}


@pytest.fixture
def surprise(tmp_path, monkeypatch):
    """An installed package with a data set, a network and a function, all of which run something."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "surprise.py").write_text(
        "import torch\n"
        "class Images(torch.utils.data.Dataset):\n"
        "    def __init__(self, root: str): raise RuntimeError('ran: ' + root)\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, width: int = 1): raise RuntimeError(f'ran: width {width}')\n"
        "def read(path): raise RuntimeError('ran')\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr("site.getsitepackages", lambda: [str(site)])
    yield
    sys.modules.pop("surprise", None)


@pytest.mark.parametrize("kind", ["DatasetDataModule", "StreamDataModule"])
@pytest.mark.parametrize("train", DATA.values(), ids=DATA)
def test_a_configuration_names_no_data_set_that_might_run_what_it_reads(train, kind, folder, surprise, capsys):
    package = train["class_path"].partition(".")[0]
    pytest.importorskip(package)
    (folder / "_cache_").write_bytes(KINDS["a pickle"])
    given = {"class_path": f"sslbolts.data.{kind}", "init_args": {"train": train}}
    (folder / "theirs.yaml").write_text(json.dumps({"model": "sslbolts.SimCLR", "data": given}))
    assert main(["fit", "--config=theirs.yaml", *OF_TRAINING]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --data.train: {train['class_path']} is of an installed package")
    assert f"SSLBOLTS_TRUST={package}" in line


FUNCTIONS = (
    *("surprise.read", "torch.hub.load", "numpy.load", "pandas.read_pickle"),
    *("timm.models.load_state_dict", "torchvision.datasets.utils.extract_archive"),
)


@pytest.mark.parametrize("loader", FUNCTIONS)
def test_a_configuration_names_no_function_that_might_run_what_it_reads(loader, folder, surprise, capsys):
    pytest.importorskip(loader.partition(".")[0])
    images = {"root": ".", "extensions": [".pth"], "loader": loader}
    train = {"class_path": "torchvision.datasets.DatasetFolder", "init_args": images}
    given = {"class_path": "sslbolts.data.DatasetDataModule", "init_args": {"train": train}}
    (folder / "theirs.yaml").write_text(json.dumps({"model": "sslbolts.SimCLR", "data": given}))
    assert main(["fit", "--config=theirs.yaml", *OF_TRAINING]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --data.train.loader: ")
    assert "is of an installed package" in line


def test_what_is_on_the_command_line_or_of_a_package_that_is_named_is_trusted(folder, surprise, monkeypatch, capsys):
    """With the arguments of the configuration."""
    images = {"class_path": "surprise.Images", "init_args": {"root": "mine"}}
    network = {"class_path": "surprise.Net", "init_args": {"width": 2}}
    data = {"class_path": "sslbolts.data.DatasetDataModule", "init_args": {"train": images}}
    model = {"class_path": "sslbolts.SimCLR", "init_args": {"backbone": network}}
    for given, word, made in (
        ({"model": "sslbolts.SimCLR", "data": data}, "--data.train=surprise.Images", "mine"),
        (
            {"model": model, "data": "sslbolts.data.CIFAR10MiniDataModule"},
            f"--model.backbone={json.dumps(network)}",
            "width 2",
        ),
    ):
        (folder / "mine.yaml").write_text(json.dumps(given))
        command = ["fit", "--config=mine.yaml", *OF_TRAINING]
        assert main(command) == 2
        assert "is of an installed package" in capsys.readouterr().err
        with pytest.raises((RuntimeError, ValueError), match=f"ran: {made}"):
            main([*command, word])
        monkeypatch.setenv("SSLBOLTS_TRUST", "other, surprise")
        with pytest.raises((RuntimeError, ValueError), match=f"ran: {made}"):
            main(command)
        monkeypatch.delenv("SSLBOLTS_TRUST")


def test_a_configuration_lets_no_checkpoint_name_what_it_may_not_name_itself(folder, surprise, monkeypatch):
    """Both may be the same stranger's, and a comment would do."""
    (folder / "mine.py").write_text("")
    (folder / "theirs.yaml").write_text("# surprise.Net, torch.fx.GraphModule, mine.Net\nmodel: SimCLR\n")
    monkeypatch.syspath_prepend(folder)
    assert names_given(["--config=theirs.yaml"]) == {"theirs.yaml", "mine.Net"}
    assert names_given(["--config", "theirs.yaml", "--model=surprise.Net"]) == {
        "theirs.yaml",
        "mine.Net",
        "surprise.Net",
    }
    monkeypatch.setenv("SSLBOLTS_TRUST", "surprise")
    assert names_given(["--config=theirs.yaml"]) == {"theirs.yaml", "mine.Net", "surprise.Net"}


@pytest.mark.parametrize("kind", ["a pickle", "of torch 1.5", "an object of torch.save"])
@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg_overlay"])
def test_weights_that_a_library_is_told_to_read_are_read_as_tensors(name, kind, folder, monkeypatch):
    """Also where that library asks for more, as timm 1.0.8 does."""
    (folder / "theirs.pth").write_bytes(KINDS[kind])
    loads = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **options: loads(*args, **{**options, "weights_only": False}))
    given = "theirs.pth" if name == "checkpoint_path" else {"file": "theirs.pth"}
    more = {} if name == "checkpoint_path" else {"pretrained": True}
    with pytest.raises(UsageError, match=r"trained weights of \"resnet10t\" cannot be had"):
        create_backbone("resnet10t", **{name: given}, **more)
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


NAMES = ("trap.X", "os.system", "subprocess.Popen", "sslbolts.checks.classes.sys", "torch.hub.load", ".trap", "trap")
HUBS = ("hf-hub:stranger/network", "local-dir:.", "hf_hub:stranger/network", "torchhub:stranger/network")
OF = {
    "optimizer": "SimCLR",
    "backbone": "SimCLR",
    "backbone_kwargs": "SimCLR",
    "teacher": "Distillation",
    "method": "SemiSupervised",
}


@pytest.mark.parametrize("name", [*NAMES, *HUBS])
def test_no_name_in_a_checkpoint_is_imported_opened_or_fetched(name, folder, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    path = folder / "last.ckpt"
    for place in OF:
        value = {"class_path": name, "init_args": {"path": "trap.py"}}
        for given in (name, value, [value], {"act_layer": value}, {"backbone": name}):
            torch.save(
                {
                    "sslbolts_class": f"sslbolts.{OF[place]}",
                    "state_dict": WEIGHTS,
                    "hyper_parameters": {"backbone": "resnet10t", "stem": "cifar", place: given},
                },
                path,
            )
            for read in (load_backbone, get_method(OF[place]).load_from_checkpoint):
                with pytest.raises((UsageError, RuntimeError)):  # these are not the weights of a whole method
                    read(path)


def test_an_exported_file_names_a_network_and_nothing_else(folder, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    for name in (*NAMES, *HUBS):
        spec = {"backbone": name, "stem": "imagenet", "in_chans": 3}
        save_file(WEIGHTS, folder / "backbone.safetensors", {"sslbolts": json.dumps(spec)})
        with pytest.raises(UsageError, match="there is no backbone"):
            load_backbone(folder / "backbone.safetensors")


def test_an_error_moves_no_cursor(folder, capsys):
    """Names in a file go to the terminal as text."""
    content = {"sslbolts_class": "trap.X\x1b[2J\n\x1b]0;title\x07", "state_dict": {}, "hyper_parameters": {}}
    torch.save(content, folder / "last.ckpt")
    assert main(["validate", "--ckpt_path=last.ckpt", *OF_TRAINING]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error[:-1].isprintable()
    assert r"trap.X\x1b[2J" in error
