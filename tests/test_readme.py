"""The README's Python runs as it stands there, with runs cut to one small batch."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from tests.bolts.formula import weights
from tests.helpers.few_images import use_few_images

README = Path(__file__).parents[1] / "README.md"


def _checkpoints_of_other_libraries(folder: Path) -> None:
    """The files that the README reads, with names and shapes as these libraries write them."""
    with np.load(Path(__file__).parent / "bolts" / "recorded.npz") as recorded:
        said = json.loads(str(recorded["layout/simclr"]))
    bolts = {"state_dict": weights(said["shapes"]), "hyper_parameters": said["hparams"]}
    torch.save(bolts, folder / "lightning_bolts_simclr.ckpt")
    network = torchvision.models.resnet18()
    children = torch.nn.Sequential(*list(network.children())[:-1]).state_dict()
    names = ("backbone.", "backbone_momentum.")
    lightly = {prefix + name: tensor for prefix in names for name, tensor in children.items()}
    torch.save({"state_dict": lightly}, folder / "lightly_byol.ckpt")
    solo = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": {**solo, "classifier.weight": torch.zeros(10, 512)}}, folder / "solo_learn.ckpt")


@pytest.mark.filterwarnings("ignore")
def test_python_blocks_of_the_readme_run_in_order(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 4
    monkeypatch.chdir(tmp_path)
    use_few_images(monkeypatch, train=50, test=50)
    _checkpoints_of_other_libraries(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks:
        short = re.sub(r"max_epochs=\d+", "accelerator='cpu', fast_dev_run=True", block)
        short = re.sub(r"MiniDataModule\((batch_size=\d+)?", "MiniDataModule(batch_size=8", short)
        exec(compile(short, str(README), "exec"), namespace)
    assert (tmp_path / "runs/resnet18.safetensors").exists()


def test_every_method_stands_in_the_readme():
    from sslbolts import METHODS

    text = README.read_text()
    missing = [name for name, method in METHODS.items() if f"`{name}`" not in text or method.paper not in text]
    assert not missing
