"""``sslbolts push`` and ``hf://`` addresses against the stand-in for the Hub: nothing goes to the network."""

import json
import subprocess
import sys

import pytest
import yaml
from markdown_it import MarkdownIt

from sslbolts.cli import main
from tests.hub.driver import FORM, SECRET


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.driver", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {"folder": folder, **json.loads(done.stdout.splitlines()[-1])}


def test_timm_and_we_load_what_was_pushed_and_get_the_method_s_features(found):
    assert set(found["errors"]) == {"net, ours", "net, timm", "small, ours", "vit, ours", "vit, timm", "bare, ours"}
    assert max(found["errors"].values()) < 1e-5


def test_the_files_are_in_timm_s_layout(found):
    assert found["files"] == ["README.md", "config.json", "model.safetensors"]
    config = found["config"]
    assert (config["architecture"], config["num_features"], config["num_classes"]) == ("resnet18", 8, 0)
    assert config["model_args"] == FORM
    assert config["pretrained_cfg"]["input_size"] == [3, 32, 32]
    assert found["spec"]["backbone"] == "timm/resnet18"
    assert found["private"] is True
    assert 'timm.create_model("hf-hub:jane/net", pretrained=True)' in found["pushed"]
    assert "timm has no such network" in found["small"]


def test_the_card_tells_of_the_run_and_nothing_private(found):
    card = found["card"]
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "timm",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["sslbolts", "self-supervised-learning", "timm", "simclr"],
        "license": "cc-by-4.0",
    }
    for said in (
        "SimCLR",
        "Chen et al. 2020",
        "| Epochs | 1 |",
        "sslbolts c" + "c" * 39,
        "41.50 %",
        "temperature | 0.25",
    ):
        assert said in text
    assert "sslbolts fit --model SimCLR --data.root PLACE" in text
    for private in (
        "jane/photos",
        "/home",
        "photos",
        SECRET,
        "/mnt",
        "working_directory",
        "a processor",
        found["host"],
    ):
        assert private not in text
    shown = MarkdownIt("commonmark").enable("table").render(text)  # with HTML let through
    assert "&lt;img src=x onerror=alert(1)&gt; | **bold** `code`" in shown
    assert "<img" not in shown
    assert "<strong>" not in shown


def test_a_card_that_its_owner_has_written_stays(found):
    assert found["again"].startswith("0 ")
    assert found["kept"].endswith("my own words\n")
    assert "README.md was there already and stays; --new_card replaces it" in found["again"]


def test_files_can_be_seen_before_anything_is_sent(found):
    assert found["written"].startswith("0 ")
    assert found["requests before"] == []
    assert sorted(path.name for path in (found["folder"] / "shown").iterdir()) == found["files"]


def test_what_goes_wrong_is_one_line(found):
    words = {
        "no token": "there is no token to write to the Hub with",
        "forbidden": "does not let this token write to forbidden/net (403)",
        "missing": "there is no repository jane/nothing on http://127.0.0.1",
        "revision": 'jane/net has no branch, tag or commit "v9"',
        "badly named": '"net" is no name of a repository',
        "empty": "jane/empty has no model.safetensors",
        "resumed": "is the address of a backbone alone",
        "push without a network": "cannot be reached",
        "load without a network": "cannot be reached, and model.safetensors of jane/other is not in the cache",
        "stranger opens": "without paths and objects",
        "stranger unknown": 'is of the network "resnet_of_nobody"',
        "stranger no": "in no config.json as timm writes it",
    }
    for name, said in words.items():
        assert found[name].startswith("2 error: "), (name, found[name])
        assert said in found[name]
        assert len(found[name]) < 500


def test_evaluation_and_export_take_an_address(found):
    assert found["preprocessing"] == [32, "hf://jane/net"]
    assert found["evaluated"].startswith("0 ")
    assert found["evaluation"] == ["runs/hf-jane-net/evaluation/ridge-CIFAR10Mini.json"]
    assert found["exported"].startswith("0 ")
    assert found["cached without a network"].startswith("0 ")


@pytest.mark.parametrize("name", ["net", "jane/", "jane/../etc", "a/b/c", "jane/net.git", "jane/n et", "-jane/net"])
def test_names_that_no_repository_has(name, tmp_path, capsys):
    assert main(["push", "nowhere.ckpt", "--", name]) == 2
    assert "is no name of a repository" in capsys.readouterr().err
