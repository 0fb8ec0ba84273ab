"""Features are those of the network, once per image, and come out of the cache when nothing changed."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

from sslbolts import UsageError
from sslbolts._lightning import LightningDataModule
from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.data.dataset import DatasetImages
from sslbolts.data.images import UnreadableImage
from sslbolts.evaluation import features_of, load_encoder
from sslbolts.evaluation.features import EncodedData, labeled_rows
from sslbolts.transforms.preprocessing import Preprocessing


class Counting(nn.Module):
    """A network that says how often it ran."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x.flatten(1) * self.scale


def _encoder(scale: float = 1.0, **settings):
    return load_encoder(Counting(scale), in_chans=3, image_size=8, device="cpu", **settings)


def _images(count: int = 10):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8), torch.arange(count) % 3


def test_features_of_a_datamodule_are_those_of_its_normalized_images():
    images, labels = _images()
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    data = DatasetDataModule(TensorDataset(images, labels), num_classes=3, views="byol", mean=mean, std=std)
    found = features_of(_encoder(), data, "bank")
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    torch.testing.assert_close(found.features, ((images / 255 - mean) / std).flatten(1))
    assert torch.equal(found.targets, labels)
    assert torch.equal(found.indices, torch.arange(10))


def test_the_networks_own_normalization_wins_over_the_datas():
    images, labels = _images()
    data = DatasetDataModule(TensorDataset(images, labels), num_classes=3, views="byol")
    encoder = load_encoder("timm/vit_tiny_patch16_224", pretrained=False, device="cpu")
    stated = EncodedData(encoder, data).preprocessing
    assert stated["mean"] == stated["std"] == [0.5] * 3
    assert EncodedData(_encoder(), data).preprocessing["mean"] == [0.485, 0.456, 0.406]


def test_resizing_is_stated_and_how_the_network_was_evaluated_where_that_differs():
    images, labels = _images()
    network = load_encoder("timm/vit_tiny_patch16_224", pretrained=False, device="cpu")  # 0.9 and bicubic, says timm
    small = DatasetDataModule(TensorDataset(images, labels), num_classes=3, views="byol")
    whole = {"size": 8, "shorter side": 8, "interpolation": "bilinear"}
    assert whole.items() <= EncodedData(network, small).preprocessing.items()
    large = DatasetDataModule(TensorDataset(images, labels), num_classes=3, views="byol", image_size=224)
    stated = EncodedData(network, large).preprocessing
    assert (stated["shorter side"], stated["interpolation"]) == (256, "bilinear")
    assert stated["the network's own"] == "224 of a shorter side of 249, bicubic"
    assert "the network's own" not in EncodedData(_encoder(), large).preprocessing
    trained = replace(_encoder(), preprocessing=Preprocessing(32))
    stated = EncodedData(trained, large).preprocessing
    assert (stated["size"], stated["size of training"]) == (224, 32)


def test_the_cache_spares_the_network_until_weights_or_images_change(tmp_path):
    images, labels = _images()
    encoder = _encoder()
    before = encoder.network.root.calls
    first = features_of(encoder, TensorDataset(images / 255, labels), cache=tmp_path)
    assert encoder.network.root.calls == before + 1
    again = features_of(encoder, TensorDataset(images / 255, labels), cache=tmp_path)
    assert encoder.network.root.calls == before + 1
    assert all(torch.equal(one, other) for one, other in zip(first, again))
    features_of(encoder, TensorDataset(images.flip(0) / 255, labels), cache=tmp_path)
    assert encoder.network.root.calls == before + 2
    scaled = features_of(_encoder(2.0), TensorDataset(images / 255, labels), cache=tmp_path)
    torch.testing.assert_close(scaled.features, 2 * first.features)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_features_of_data_that_cannot_be_compared_are_not_kept(tmp_path):
    class Odd(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.zeros(3, 8, 8), 0, object()

    loader = DataLoader(Odd(), batch_size=2, collate_fn=lambda rows: default_collate([row[:2] for row in rows]))
    with pytest.warns(UserWarning, match="features of Odd are not kept"):
        assert len(features_of(_encoder(), loader, cache=tmp_path).features) == 4
    assert not list(tmp_path.iterdir())


def test_a_third_item_that_is_no_row_changes_neither_order_nor_rows():
    images, labels = _images()
    groups = torch.arange(10) % 2
    found = features_of(_encoder(), TensorDataset(images / 255, labels, groups))
    assert torch.equal(found.indices, torch.arange(10))


def test_the_datas_own_loader_tells_the_rows_of_images_that_were_left_out():
    images, labels = _images()

    class Holes(DatasetImages):
        def read(self, index):
            if index == 3:
                raise UnreadableImage(str(index))
            return super().read(index)

    data = DatasetDataModule(TensorDataset(images, labels), num_classes=3, views="byol", num_workers=0)
    data.load = lambda split: Holes(TensorDataset(images, labels), data.reader, split)
    for given in (data, data.bank_dataloader()):
        assert features_of(_encoder(), given).indices.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_somebody_elses_loader_is_walked_through_in_order():
    images, labels = _images()

    class Other(LightningDataModule):
        def train_dataloader(self):
            return DataLoader(TensorDataset(images / 255, labels), batch_size=4, shuffle=True, drop_last=True)

    for data in (Other(), Other().train_dataloader(), TensorDataset(images / 255, labels)):
        found = features_of(_encoder(), data, "bank")
        torch.testing.assert_close(found.features, (images / 255).flatten(1))
        assert torch.equal(found.targets, labels)


def test_packaged_images_have_their_splits():
    data = CIFAR10MiniDataModule()
    encoder = load_encoder(nn.Flatten(), image_size=32, device="cpu")
    assert [len(features_of(encoder, data, split).features) for split in ("bank", "val")] == [5000, 1000]


def test_rows_without_label_are_left_out():
    images, _ = _images(4)
    data = TensorDataset(images / 255, torch.tensor([0, -1, 2, -1]))
    found = features_of(_encoder(), data)
    assert [len(column) for column in labeled_rows(found)] == [2, 2]
    with pytest.raises(UsageError, match="no image of the training data has a label"):
        labeled_rows(features_of(_encoder(), TensorDataset(images / 255)), what="training data")


@pytest.mark.parametrize(
    "labels", [torch.tensor([[2], [0], [-1]]), torch.tensor([2, 0, -100], dtype=torch.int16), torch.eye(3)[[2, 0, 1]]]
)
def test_labels_of_other_forms_are_class_numbers(labels):
    encoder = load_encoder(nn.Flatten(), in_chans=1, image_size=2, device="cpu")
    images = torch.arange(12.0).reshape(3, 1, 2, 2)
    _, found = labeled_rows(features_of(encoder, TensorDataset(images, labels)))
    assert found.tolist() == ([2, 0, 1] if labels.dtype == torch.float32 else [2, 0])
    several = TensorDataset(images, torch.tensor([[0, 1, 0], [1, 1, 0], [0, 0, 1]]))
    with pytest.raises(UsageError, match=r"one label per image, but of the data \[1, 1, 0\], which marks 2 classes"):
        labeled_rows(features_of(encoder, several))


def test_wrong_data_is_named():
    images, labels = _images()
    with pytest.raises(UsageError, match="1 channels, but Counting takes 3"):
        features_of(_encoder(), TensorDataset(images[:, :1] / 255, labels))
    with pytest.raises(UsageError, match='split="valid"'):
        features_of(_encoder(), CIFAR10MiniDataModule(), "valid")


_GOOD = {"features": torch.zeros(10, 192), "targets": torch.arange(10) % 3, "indices": torch.arange(10)}


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ({"features": torch.full((10, 192), torch.nan)}, "not finite"),
        ({"features": torch.zeros(10, 191)}, "of the shapes"),
        ({"features": torch.zeros(10, 192, 1)}, "of the shapes"),
        ({"features": torch.zeros(10, 192, dtype=torch.float64)}, "of the types"),
        ({"targets": torch.zeros(10)}, "of the types"),
        ({"features": torch.zeros(9, 192)}, "9 rows, 10 labels"),
        ({name: column[:4] for name, column in _GOOD.items()}, "6 of 10 images are missing"),
        ({"indices": torch.arange(10).flip(0)}, "labels or rows"),
        ({"indices": torch.arange(1, 11)}, "labels or rows"),
        (None, "SafetensorError|header|Error"),
    ],
)
def test_a_file_that_cannot_be_the_right_one_is_not_believed(planted, reason, tmp_path):
    images, labels = _images()
    data, encoder = TensorDataset(images / 255, labels), _encoder()
    right = features_of(encoder, data, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    if planted is None:
        file.write_bytes(file.read_bytes()[:100])
    else:
        save_file(_GOOD | {name: column.contiguous() for name, column in planted.items()}, file)
    with pytest.warns(UserWarning, match=f"are not used, and are computed again: .*({reason})"):
        again = features_of(encoder, data, cache=tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(right, again))
    calls = encoder.network.root.calls
    features_of(encoder, data, cache=tmp_path)  # the right ones have taken its place
    assert encoder.network.root.calls == calls


def test_features_that_are_not_finite_are_refused_and_not_kept(tmp_path):
    images, labels = _images()
    pixels = images / 255
    pixels[2:5, 0, 0, 0] = torch.nan
    with pytest.raises(UsageError, match=r"features of Counting are not finite for 3 of 10 images"):
        features_of(_encoder(), TensorDataset(pixels, labels), cache=tmp_path)
    with pytest.raises(UsageError, match=r"10 of 10 images"):  # squares that float32 has not
        features_of(_encoder(1e25), TensorDataset(images / 255, labels), cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_features_that_cannot_be_kept_are_not_lost(tmp_path):
    images, labels = _images()
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match=r"features are not kept: .*could not be written"):
        found = features_of(_encoder(), TensorDataset(images / 255, labels), cache=tmp_path / "file")
    torch.testing.assert_close(found.features, (images / 255).flatten(1))
