"""README and the pages for those who come from other libraries: their Python runs as it stands there."""

import configparser
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml

import sslbolts
from tests.bolts.formula import weights
from tests.helpers.few_images import use_few_images

ROOT = Path(__file__).parents[1]


def _checkpoints_of_other_libraries(folder: Path) -> None:
    """The files that the pages read, with names and shapes as these libraries write them."""
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


def _run(page: Path) -> None:
    """Every Python block of a page in one namespace."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.filterwarnings("ignore")
def test_python_blocks_of_the_readme_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_few_images(monkeypatch, train=50, test=50)
    _run(ROOT / "README.md")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ["lightning_bolts", "lightly", "solo_learn"])
def test_python_blocks_of_the_pages_for_other_libraries_run_with_a_checkpoint_of_theirs(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_few_images(monkeypatch, train=50, test=50)
    _checkpoints_of_other_libraries(tmp_path)
    _run(ROOT / "docs" / "migration" / f"{library}.md")


def test_every_method_stands_in_the_readme():
    from sslbolts import METHODS

    text = (ROOT / "README.md").read_text()
    assert not [name for name in METHODS if f"`{name}`" not in text]


def test_the_readme_is_short_and_names_files_that_exist():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    named = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert len(named) > 15
    assert not [path for path in named if not (ROOT / path).exists()]


def test_the_address_is_one():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    metadata = setup["metadata"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["repository-code"] == metadata["url"]
    assert citation["version"] == sslbolts.__version__
    assert citation["authors"] == [{"name": metadata["author"]}]
    links = [line.partition(" = ")[2] for line in metadata["project_urls"].split("\n") if line]
    assert links
    assert all(link.startswith(metadata["url"]) for link in links)
