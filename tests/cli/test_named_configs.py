"""Configurations by name: they come with the package, and a file of one's own stands before them."""

import configparser
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from sslbolts.cli.main import main
from sslbolts.cli.shared.names import config_path
from sslbolts.errors import UsageError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("option", [["--config", "simclr_cifar10mini"], ["--config=simclr_cifar10mini"]])
def test_a_name_is_its_file(option, capsys):
    assert main(["fit", *option, "--print_config"]) == 0
    by_name = capsys.readouterr().out
    assert main(["fit", f"--config={ROOT}/configs/simclr_cifar10mini.yaml", "--print_config"]) == 0
    assert by_name == capsys.readouterr().out


def test_a_file_of_that_name_stands_before_it_and_a_folder_does_not():
    Path("byol_cifar10").mkdir()
    Path("simclr_cifar10").write_text("trainer: {max_epochs: 3}\n")
    assert Path(config_path("byol_cifar10")).read_text() == (ROOT / "configs/byol_cifar10.yaml").read_text()
    assert config_path("simclr_cifar10") == "simclr_cifar10"


def test_text_in_place_of_a_file_stays():
    assert config_path("{trainer: {max_epochs: 3}}") == "{trainer: {max_epochs: 3}}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("simclr_cifr10", 'there is no configuration "simclr_cifr10".* Did you mean "simclr_cifar10"?'),
        ("mine/simclr_cifar10.yaml", 'there is no file "mine/simclr_cifar10.yaml". Did you mean "simclr_cifar10"?'),
        ("../setup", 'there is no file "../setup".'),
    ],
)
def test_what_is_neither_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        config_path(name)


def test_the_table_names_each_and_says_what_it_is(capsys):
    assert main(["configs", "--plain"]) == 0
    rows = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert list(rows) == [path.stem for path in SHIPPED]
    assert rows["vicreg_imagenet"] == (
        "VICReg with a ResNet-50 on ImageNet: the paper's recipe, 1000 epochs at batch 2048 (256 on each of 8 GPUs)."
    )
    assert all(sentence.endswith((".", ":")) and len(sentence) > 30 for sentence in rows.values())


def test_one_is_copied_to_the_byte(capfdbinary):
    assert main(["configs", "moco_cifar10"]) == 0
    assert capfdbinary.readouterr().out == (ROOT / "configs/moco_cifar10.yaml").read_bytes()


def test_every_file_of_the_package_is_in_a_wheel():
    tracked = subprocess.run(["git", "ls-files", "src/sslbolts"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a checkout")
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = [
        f"src/{package.replace('.', '/')}/{pattern}"
        for package, lines in setup["options.package_data"].items()
        for pattern in lines.split()
    ]
    files = [file for file in tracked.stdout.splitlines() if not file.endswith(".py")]
    files[files.index("src/sslbolts/configs")] = "src/sslbolts/configs/simclr_cifar10.yaml"  # a link to a folder
    assert [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)] == []
