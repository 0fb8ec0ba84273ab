"""The wheel in an empty environment, outside the checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of the source distribution, as an index would have both."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def sslbolts(wheel, tmp_path_factory):
    """The command of an environment that has the wheel and, of this one, everything but the checkout."""
    folder = tmp_path_factory.mktemp("empty")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program: str | Path, *arguments: str | Path, cwd: Path = folder) -> str:
        command = [str(folder / "venv" / "bin" / program), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    run("pip", "install", "--quiet", "--no-deps", wheel)
    packages = run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # A path in a .pth file is searched, but the .pth files there (of the checkout) are not.
    Path(packages, "others.pth").write_text(sysconfig.get_path("purelib"))
    return partial(run, "sslbolts")


def test_it_has_the_configurations_and_nothing_of_the_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"sslbolts/configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} <= names
    assert {"sslbolts/py.typed", "sslbolts/data/cifar10_mini.npz", "sslbolts/report/style.css"} <= names
    assert not [name for name in names if not name.startswith("sslbolts")]


def test_it_lists_methods_and_configurations(sslbolts, tmp_path):
    assert "SimCLR" in sslbolts("methods", "--plain", cwd=tmp_path)
    assert "simclr_cifar10" in sslbolts("configs", "--plain", cwd=tmp_path)


def test_a_configuration_trains_by_name(sslbolts, tmp_path):
    sslbolts("fit", "--config", "simclr_cifar10mini", "--trainer.fast_dev_run=true", cwd=tmp_path)


def test_the_demo_runs(sslbolts, tmp_path):
    sslbolts("demo", "--epochs", "1", cwd=tmp_path)
    assert list(tmp_path.rglob("*.ckpt"))
