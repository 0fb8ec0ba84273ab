"""Pictures of training images, some of which cannot be read and are skipped."""

import pytest

from sslbolts import SimCLR
from sslbolts.callbacks import AugmentationSheet
from sslbolts.cli.main import main
from sslbolts.data import ImageFolderDataModule
from tests.data.helpers import quiet_trainer, write_folder
from tests.helpers.nets import TinyBackbone

pytestmark = pytest.mark.filterwarnings("ignore:.*image files could not be used")


@pytest.fixture
def folder(tmp_path):
    root = write_folder(tmp_path / "images", per_class=3)
    (root / "cat" / "0.png").write_bytes(b"no image")
    (root / "dog" / "1.png").write_bytes(b"no image")
    return root


def options(folder):
    return ["--data=ImageFolder", f"--data.root={folder}", "--data.image_size=32", "--data.on_bad_image=skip"]


def test_preview_shows_those_that_can_be_read(folder, tmp_path):
    output = tmp_path / "sheet.svg"
    assert main(["preview", *options(folder), "--images=6", "--draws=2", f"--output={output}"]) == 0
    assert output.read_text().count("<image") == 4 * (1 + 2)  # SimCLR has one kind of view


def test_pictures_of_the_views_are_drawn(folder, tmp_path):
    argv = ["pictures", "torchvision/resnet18", "--untrained", "--device=cpu", "--what=augmentations", "--rows=6"]
    assert main([*argv, *options(folder), f"--output={tmp_path / 'drawn'}"]) == 0
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["augmentations.png"]


def test_the_sheet_of_a_run_is_drawn(folder, tmp_path):
    data = ImageFolderDataModule(
        str(folder), image_size=32, batch_size=3, num_workers=0, on_bad_image="skip", in_memory=False
    )
    run = quiet_trainer(max_steps=1, callbacks=[AugmentationSheet(images=6, draws=2)], default_root_dir=tmp_path)
    run.fit(SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4), datamodule=data)
    assert [path.name for path in tmp_path.rglob("augmentations*.png")] == ["augmentations-epoch0001.png"]
