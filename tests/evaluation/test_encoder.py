"""Encoders from every kind of source give the features of that source."""

import pytest
import torch
from torch import nn

from sslbolts import BYOL, SimCLR, UsageError, export_backbone
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import load_encoder
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import quiet_trainer

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
THIN = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
SMALL = {"backbone": "resnet18", "backbone_kwargs": THIN, "stem": "cifar", "hidden_dim": 8, "output_dim": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    method = BYOL(**SMALL)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=4, views="byol"))
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    trainer.save_checkpoint(path)
    return method.eval(), path


@torch.no_grad()
def test_a_checkpoint_gives_the_features_of_its_method(trained):
    method, path = trained
    encoder = load_encoder(path, device="cpu")
    assert (encoder.name, encoder.num_features, encoder.preprocessing.in_chans) == ("BYOL", method.num_features, 3)
    assert not encoder.network.training
    torch.testing.assert_close(encoder.network(IMAGES), method(IMAGES))
    torch.testing.assert_close(encoder.backbone(IMAGES), method(IMAGES))


@torch.no_grad()
def test_projector_teacher_and_named_layers_are_what_their_names_say(trained):
    method, path = trained
    embeddings = load_encoder(path, layer="projector", device="cpu").network(IMAGES)
    torch.testing.assert_close(embeddings, method.projector(method(IMAGES)))
    teacher = load_encoder(path, layer="projector", teacher=True, device="cpu").network(IMAGES)
    torch.testing.assert_close(teacher, method.teacher(IMAGES))
    assert not torch.equal(teacher, embeddings)
    maps = {}
    handle = method.backbone.layer3.register_forward_hook(lambda *call: maps.update(out=call[2]))
    method(IMAGES)
    handle.remove()
    for name in ("layer3", "backbone.layer3"):
        torch.testing.assert_close(
            load_encoder(path, layer=name, device="cpu").network(IMAGES), maps["out"].mean((2, 3))
        )


@torch.no_grad()
def test_an_exported_file_and_a_module_give_the_same_features(trained, tmp_path):
    method, path = trained
    file = export_backbone(path, tmp_path / "backbone.safetensors")
    for source in (file, method, method.backbone):
        torch.testing.assert_close(load_encoder(source, device="cpu").network(IMAGES), method(IMAGES))


def test_a_module_that_was_given_is_left_as_it_was():
    network = TinyBackbone().train()
    encoder = load_encoder(network, device="cpu")
    assert network.training
    assert encoder.backbone is not network


def test_a_checkpoint_of_a_given_module_asks_for_it_and_takes_it(tmp_path):
    method = SimCLR(SmallConvNet(), hidden_dim=8, output_dim=4)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=4))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(UsageError, match="backbone="):
        load_encoder(tmp_path / "last.ckpt", device="cpu")
    encoder = load_encoder(tmp_path / "last.ckpt", backbone=SmallConvNet(), device="cpu")
    with torch.no_grad():
        torch.testing.assert_close(encoder.network(IMAGES), method.eval()(IMAGES))


def test_a_timm_name_says_the_preprocessing_it_wants():
    encoder = load_encoder("timm/vit_tiny_patch16_224", pretrained=False, device="cpu")
    known = encoder.preprocessing
    assert (known.mean, known.std, known.image_size) == ((0.5,) * 3, (0.5,) * 3, 224)  # as timm documents
    assert (encoder.num_features, encoder.name) == (192, "vit_tiny_patch16_224")


def test_an_untrained_network_says_so_in_every_result():
    encoder = load_encoder("timm/resnet10t", pretrained=False, device="cpu")
    assert (encoder.pretrained, encoder.name) == (False, "resnet10t")
    assert encoder.source == "timm/resnet10t (untrained)"  # which every result and its table have
    assert load_encoder(TinyBackbone(), device="cpu").pretrained is None


def test_the_tag_of_a_librarys_weights_stays_in_the_name():
    assert load_encoder("timm/resnet18.a1_in1k", pretrained=False, device="cpu").name == "resnet18.a1_in1k"


def test_the_size_of_training_is_not_the_size_that_was_asked_for(trained):
    assert load_encoder(trained[1], image_size=64, device="cpu").preprocessing.image_size == 32
    assert load_encoder(TinyBackbone(), image_size=64, device="cpu").preprocessing.image_size is None


def test_a_checkpoint_says_how_its_images_were_normalized(trained, tmp_path):
    known = load_encoder(trained[1], device="cpu").preprocessing
    data = CIFAR10MiniDataModule
    assert (known.mean, known.std, known.image_size) == (data.pixel_mean, data.pixel_std, 32)
    method = SimCLR(**SMALL)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, CIFAR10MiniDataModule(batch_size=4, views="simclr"))  # its images are in [0, 1]
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    known = load_encoder(tmp_path / "last.ckpt", device="cpu").preprocessing
    assert (known.mean, known.std) == ((0.0,) * 3, (1.0,) * 3)


def test_the_digest_tells_weights_and_layers_apart(trained):
    _, path = trained
    same, again = load_encoder(path, device="cpu"), load_encoder(path, device="cpu")
    assert same.digest == again.digest
    others = {load_encoder(path, layer=name, device="cpu").digest for name in ("layer3", "projector")}
    others.add(load_encoder(path, teacher=True, device="cpu").digest)
    assert len(others | {same.digest}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "runs/nowhere.ckpt"}, "there is no file"),
        ({"source": "timm/resnet81", "pretrained": False}, 'Did you mean "resnet'),
        ({"source": "timm/resnet18", "pretrained": False, "teacher": True}, "without a teacher"),
        ({"source": TinyBackbone(), "layer": "layer"}, "has no layer"),
        ({"source": SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4), "teacher": True}, "SimCLR has no teacher"),
        ({"source": TinyBackbone(), "device": "cudda"}, "cudda"),
        ({"source": nn.Linear(4, 2)}, "does not take a blank image"),
        ({"source": "sslbolts/amdim"}, r"AMDIM's network has no published weights.*--untrained"),
    ],
)
def test_what_is_not_there_is_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        load_encoder(**{"device": "cpu", **arguments})


def test_weights_that_cannot_be_fetched_are_said_with_what_to_do_instead(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(UsageError, match=r"cannot be had \(Name or service not known\).*pretrained=False"):
        load_encoder("timm/resnet10t", device="cpu")
