"""The backbone in other programs: their own network, loaded strictly, gives equal features."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from sslbolts import BYOL, SimCLR, UsageError, export_backbone, load_backbone
from sslbolts.checkpoints.writing.libraries import in_library
from sslbolts.cli import main
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import load_encoder
from sslbolts.networks.backbones import create_backbone
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(4))
VIT = {"img_size": 64, "patch_size": 32}
NARROW = {"stem": "cifar", "backbone_kwargs": {"channels": [8, 8, 16, 16]}}


def _seen(module: SimCLR | BYOL) -> SimCLR | BYOL:
    """With batch norms that have seen something."""
    with torch.no_grad():
        module.backbone.train()(IMAGES)
    return module.eval()


def _close(ours: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "torchvision/resnet18", "timm/resnet10t"])
def test_a_resnet_in_timm(name, tmp_path):
    import timm

    module = _seen(SimCLR(name, hidden_dim=8, output_dim=4))
    file = export_backbone(module, tmp_path / "backbone.safetensors", format="timm")
    network = timm.create_model(name.rpartition("/")[2], num_classes=0)
    network.load_state_dict(load_file(file), strict=True)
    _close(network.eval()(IMAGES), module(IMAGES))
    _close(load_backbone(file)(IMAGES), module(IMAGES))


@pytest.mark.parametrize("name", ["resnet18", "torchvision/resnet18"])
def test_a_resnet_in_torchvision(name, tmp_path):
    import torchvision

    module = _seen(SimCLR(name, hidden_dim=8, output_dim=4))
    file = export_backbone(module, tmp_path / "backbone.safetensors", format="torchvision")
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    network.load_state_dict(load_file(file), strict=True)
    _close(network.eval()(IMAGES), module(IMAGES))
    _close(load_backbone(file)(IMAGES), module(IMAGES))


def test_a_transformer_in_timm(tmp_path):
    import timm

    kwargs = {"img_size": 64, "patch_size": 16, "depth": 2}
    module = SimCLR("vit_tiny_patch16_224", backbone_kwargs=kwargs).eval()
    file = export_backbone(module, tmp_path / "backbone.safetensors", format="timm")
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, checkpoint_path=str(file), **kwargs)
    _close(network.eval()(IMAGES), module(IMAGES))


@pytest.mark.slow
def test_a_transformer_in_torchvision_named_in_the_line_that_is_printed(tmp_path, capsys):
    import torchvision

    module = SimCLR("vit_base_patch32_224", backbone_kwargs={"img_size": 64}, hidden_dim=8, output_dim=4).eval()
    source, file = export_backbone(module, tmp_path / "ours.safetensors"), tmp_path / "theirs.safetensors"
    assert main(["export", str(source), str(file), "--format", "torchvision", "--image_size", "64"]) == 0
    assert "vit_b_32(image_size=64), its" in capsys.readouterr().out
    network = torchvision.models.vit_b_32(image_size=64)
    network.heads = nn.Identity()
    network.load_state_dict(load_file(file), strict=True)
    _close(network.eval()(IMAGES), module(IMAGES))


@pytest.mark.parametrize(
    ("name", "arguments", "library", "words"),
    [
        ("vit_tiny_patch16_224", {"backbone_kwargs": VIT}, "torchvision", "torchvision has no network of that form"),
        ("resnet10t", {}, "torchvision", "torchvision has no network of that form"),
        ("resnet18", {"stem": "cifar"}, "timm", r'timm has no resnet18 with stem="cifar".*load_backbone reads'),
        ("torchvision/shufflenet_v2_x0_5", {}, "timm", "timm has no network of that form"),
        (
            "resnet18",
            {"backbone_kwargs": {"output_stride": 16}},
            "torchvision",
            "torchvision has no network of that form",
        ),
    ],
)
def test_what_the_other_library_does_not_have_is_refused(name, arguments, library, words, tmp_path):
    module = SimCLR(name, hidden_dim=8, output_dim=4, **arguments)
    with pytest.raises(UsageError, match=words):
        export_backbone(module, tmp_path / "backbone.safetensors", format=library, image_size=64)
    assert not (tmp_path / "backbone.safetensors").exists()


def test_weights_that_fit_but_give_other_features_are_refused():
    network = create_backbone("resnet18").eval()
    network.maxpool = nn.AvgPool2d(3, 2, 1)
    with pytest.raises(UsageError, match="torchvision's resnet18 gives other features with these weights"):
        in_library("torchvision", network, {"backbone": "resnet18"}, None)
    with pytest.raises(UsageError, match=r"torchvision's resnet34 has other weights \(layer1\.2"):
        in_library("torchvision", network, {"backbone": "resnet34"}, None)
    with pytest.raises(UsageError, match="a module of your own is no network of timm"):
        in_library("timm", TinyBackbone(), None, None)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet10t", NARROW),
        ("vit_tiny_patch16_224", {"backbone_kwargs": {"img_size": 64, "patch_size": 16, "depth": 1}}),
    ],
)
def test_onnx_gives_equal_features_for_any_number_of_images(name, arguments, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    module = _seen(SimCLR(name, hidden_dim=8, output_dim=4, **arguments))
    file = export_backbone(module, tmp_path / "backbone.onnx", image_size=64)
    session = onnxruntime.InferenceSession(str(file))
    for images in (IMAGES, IMAGES[:1], IMAGES.repeat(2, 1, 1, 1)):
        _close(torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), module(images))
    stored = session.get_modelmeta().custom_metadata_map
    assert json.loads(stored["preprocessing"]) == {"image_size": 64, "mean": None, "std": None}
    with pytest.raises(UsageError, match=r"program and not weights.*InferenceSession"):
        load_backbone(file)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet10t", NARROW),
        ("vit_tiny_patch16_224", {"backbone_kwargs": {"img_size": 64, "patch_size": 16, "depth": 1}}),
        (TinyBackbone(), {}),
    ],
)
def test_a_program_of_torch_export_gives_equal_features(name, arguments, tmp_path):
    module = _seen(SimCLR(name, hidden_dim=8, output_dim=4, **arguments))
    file = export_backbone(module, tmp_path / "backbone.pt2", image_size=64)
    extra = {"sslbolts.json": ""}
    network = torch.export.load(file, extra_files=extra).module()
    _close(network(IMAGES), module(IMAGES))
    _close(network(IMAGES[:1]), module(IMAGES[:1]))
    assert json.loads(extra["sslbolts.json"])["preprocessing"]["image_size"] == 64
    with pytest.raises(UsageError, match=r"torch\.export\.load"):
        load_backbone(file)


@pytest.mark.filterwarnings("ignore")
def test_size_and_statistics_of_the_images_go_from_the_data_into_the_file(tmp_path):
    data = CIFAR10MiniDataModule(batch_size=4, views="byol", num_workers=0)
    module = BYOL(TinyBackbone(), hidden_dim=8, output_dim=4)
    trainer = quiet_trainer(max_steps=1, limit_val_batches=0)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "byol.ckpt")
    for source, backbone in ((module, None), (tmp_path / "byol.ckpt", TinyBackbone())):
        file = export_backbone(source, tmp_path / "byol.safetensors", backbone=backbone, teacher=True)
        with safe_open(file, framework="pt") as stored:
            entry = json.loads(stored.metadata()["preprocessing"])
        assert entry == {"image_size": 32, "mean": list(data.mean), "std": list(data.std), "value_range": []}
        known = load_encoder(file, backbone=TinyBackbone(), device="cpu").preprocessing
        assert (known.image_size, known.mean, known.std) == (32, data.mean, data.std)


def test_the_command_reads_another_librarys_file_and_says_what_it_did(tmp_path, capsys):
    import torchvision

    network = torchvision.models.resnet18()
    tensors = {f"module.encoder_q.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": {**tensors, "module.queue": torch.zeros(2)}}, tmp_path / "moco.pth.tar")
    assert main(["export", str(tmp_path / "moco.pth.tar"), str(tmp_path / "moco.safetensors"), "--format", "timm"]) == 0
    said = capsys.readouterr().out
    assert 'layout "moco" (MoCo v1 and v2), network resnet18' in said
    assert "120 tensors taken; left in the file: 3 (queue 1, fc 2); missing in it: nothing" in said
    assert "images: 224 pixels, in [0, 1], minus (0.485, 0.456, 0.406), divided by (0.229, 0.224, 0.225)" in said
    assert 'timm.create_model("resnet18", num_classes=0, checkpoint_path=' in said
    network.fc = nn.Identity()
    _close(load_backbone(tmp_path / "moco.safetensors")(IMAGES), network.eval()(IMAGES))


@pytest.mark.parametrize(
    ("name", "arguments", "format", "made"),
    [
        ("resnet10t", {"in_chans": 1}, "timm", 'timm.create_model("resnet10t", num_classes=0, in_chans=1, checkpoint'),
        ("resnet18", {"in_chans": 2}, "torchvision", "torchvision.models.resnet18(), its classifier replaced by nn.Id"),
    ],
)
def test_the_line_it_prints_names_the_other_librarys_network(name, arguments, format, made, tmp_path, capsys):
    source = export_backbone(SimCLR(name, hidden_dim=8, output_dim=4, **arguments), tmp_path / "ours.safetensors")
    command = ["export", str(source), str(tmp_path / "theirs.safetensors"), "--format", format, "--image_size", "64"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert made in said
    assert ("first convolution by one of 2 channels" in said) == (arguments.get("in_chans") == 2)
    if format == "timm":
        import timm

        network = eval(said.splitlines()[-1], {"timm": timm}).eval()  # what it says can be run
        images = IMAGES[:, :1]
        _close(network(images), load_backbone(source)(images))


def test_normalization_that_a_checkpoint_does_not_say_can_be_said(tmp_path, capsys):
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "vicreg.pth")
    command = ["export", str(tmp_path / "vicreg.pth"), str(tmp_path / "ours.safetensors")]
    assert main(command) == 0
    assert "how images were normalized is not in it: sslbolts export --normalize" in capsys.readouterr().out
    assert load_encoder(tmp_path / "ours.safetensors", device="cpu").preprocessing.mean is None
    for word, mean, std in (
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("none", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ):
        assert main([*command, "--normalize", word]) == 0
        known = load_encoder(tmp_path / "ours.safetensors", device="cpu").preprocessing
        assert (known.mean, known.std) == (mean, std)
    capsys.readouterr()
    again = ["export", str(tmp_path / "ours.safetensors"), str(tmp_path / "more.safetensors"), "--normalize", "none"]
    assert main(again) == 2
    assert "leave --normalize none out" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_an_exported_network_of_images_without_normalization_says_so(tmp_path):
    data = CIFAR10MiniDataModule(batch_size=4, views="simclr", num_workers=0)
    assert data.mean is None
    module = SimCLR("resnet10t", stem="cifar", hidden_dim=8, output_dim=4)
    trainer = quiet_trainer(max_steps=1, limit_val_batches=0)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "simclr.ckpt")
    for source in (module, tmp_path / "simclr.ckpt"):
        file = export_backbone(source, tmp_path / "simclr.safetensors")
        for path in (file, tmp_path / "simclr.ckpt"):
            known = load_encoder(path, device="cpu").preprocessing
            assert (known.mean, known.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("output", "options", "words"),
    [
        ("x.pth", [], "must end in .safetensors, .onnx, .pt2."),
        ("x.onnx", ["--format", "timm"], "must end in .safetensors for the format timm."),
        ("x.onnx", ["--format", "onxn"], 'Did you mean "onnx"?'),
        ("x.onnx", [], 'there is no file "lost.ckpt".'),
        ("x.onnx", ["--fromat", "timm"], 'there is no option "--fromat". Did you mean "--format"?'),
    ],
)
def test_a_wrong_command_is_told_in_one_line(output, options, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "lost.ckpt", output, *options]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize("ending", [".safetensors", ".pt2"])
def test_a_place_that_cannot_be_written_is_named_and_keeps_what_it_has(ending, tmp_path):
    method = SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4)
    (tmp_path / "file").write_text("")
    (tmp_path / f"full{ending}").symlink_to("/dev/full")
    for place in (tmp_path / "file" / f"net{ending}", tmp_path / f"full{ending}"):
        with pytest.raises(UsageError, match=f"{place} could not be written: "):
            export_backbone(method, place, image_size=32)
    assert len(list(tmp_path.iterdir())) == 2
