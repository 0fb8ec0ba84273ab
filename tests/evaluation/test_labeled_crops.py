"""No labeled image is lost to a batch that is larger than the data set has many of."""

import pytest
import torch
from torch import nn

from sslbolts.data import CIFAR10MiniDataModule, DatasetDataModule
from sslbolts.evaluation import evaluate_linear, load_encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.labeled_crops import labeled_crops
from sslbolts.evaluation.layers.run import evaluate_layers
from tests.helpers.nets import SmallConvNet


def _encoder():
    return load_encoder(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), in_chans=3, image_size=32, device="cpu")


@pytest.mark.parametrize(("batch_size", "images"), [(400, 500), (32, 500), (31, 16 * 31)])
@pytest.mark.usefixtures("few_images")
def test_an_epoch_drops_its_last_batch_only_of_many(batch_size, images):
    subject = EncodedData(_encoder(), CIFAR10MiniDataModule(batch_size=8))
    crops = labeled_crops(subject, batch_size=batch_size, seed=0)
    crops.batch_size = batch_size
    assert sum(len(batch[1]) for batch in crops.train_dataloader()) == images


def test_a_large_batch_uses_every_image_and_says_how_few_steps_it_leaves():
    trained = []
    counting = nn.Sequential(nn.AvgPool2d(16), nn.Flatten())
    encoder = load_encoder(counting, in_chans=3, image_size=32, device="cpu")
    hook = encoder.network.register_forward_hook(lambda module, given, out: trained.append(len(out)))
    data = CIFAR10MiniDataModule(batch_size=8)
    result = evaluate_linear(encoder, data, settings="simclr", on="images", epochs=1, lr=0.1)
    hook.remove()
    assert trained[:2] == [4096, 904]
    assert any("2 steps per epoch only, of 4,096 images each" in note for note in result.notes)
    assert not any("per epoch only" in note for note in evaluate_linear(encoder, data, epochs=1, lr=0.1).notes)


@pytest.mark.filterwarnings("ignore")
def test_layers_train_where_the_datas_own_batch_is_small():
    images = torch.randint(0, 256, (200, 3, 16, 16), dtype=torch.uint8)
    dataset = torch.utils.data.TensorDataset(images, torch.arange(200) % 2)
    data = DatasetDataModule(dataset, val=dataset, num_classes=2, batch_size=8, num_workers=0)
    encoder = load_encoder(SmallConvNet(), device="cpu")
    found = evaluate_layers(
        encoder, data, layers=["layers.5"], epochs=1, batch_size=256, lrs=[0.1], augment=True, progress=False
    )
    assert 0 <= found.metrics["top1"] <= 1
