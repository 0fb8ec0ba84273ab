"""The Dockerfile, the devcontainer and the SLURM job: their commands are understood, their files exist."""

import configparser
import json
import re
import subprocess

import pytest
import yaml

from tests.helpers.command_lines import command_lines, try_command
from tests.helpers.pages import ROOT


def instructions(text: str) -> list[tuple[str, str]]:
    """Instruction and arguments of each line of a Dockerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def commands_of(text: str) -> list[list[str]]:
    """What `docker run ... sslbolts[:TAG] ARGUMENTS` in the comments gives the image's entry point."""
    found = re.findall(r"docker run .* sslbolts(?::\w+)? (.+)", text)
    return [["sslbolts", *words] for line in found for _, words in command_lines(line)]


def test_the_dockerfile_installs_what_there_is():
    text = (ROOT / "Dockerfile").read_text()
    found = instructions(text)
    known = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in found} == known
    for sources in (rest.split()[:-1] for name, rest in found if name == "COPY"):
        assert all((ROOT / source).exists() for source in sources)
        kept = (ROOT / ".dockerignore").read_text().splitlines()
        assert all(f"!{source}" in kept for source in sources)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', text)
    assert set(extras.split(",")) <= set(setup["options.extras_require"])
    for name in ("ENTRYPOINT", "CMD"):
        assert all(isinstance(json.loads(rest), list) for found_name, rest in found if found_name == name)
    assert ("ARG", "DEVICE=cpu") in found
    assert "whl/${DEVICE}" in text


def test_what_the_dockerfile_copies_holds_all_that_it_links_to():
    """Configurations of the package are a link to those of the repository."""
    copied = [
        ROOT / source
        for name, rest in instructions((ROOT / "Dockerfile").read_text())
        if name == "COPY"
        for source in rest.split()[:-1]
    ]
    links = [path for source in copied for path in source.rglob("*") if path.is_symlink()]
    assert ROOT / "src" / "sslbolts" / "configs" in links
    assert all(any(link.resolve().is_relative_to(source) for source in copied) for link in links)


def test_an_image_that_is_built_on_has_a_version():
    bases = [rest for name, rest in instructions((ROOT / "Dockerfile").read_text()) if name == "FROM"]
    bases.append(json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())["image"])
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    for base in bases:
        tag = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base).partition(":")[2]
        assert re.match(r"\d+\.\d+", tag), base


def test_the_dockerfile_s_commands_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "Dockerfile").read_text()
    shown = commands_of(text)
    assert len(shown) == 2
    run = [words for name, rest in instructions(text) if name == "RUN" for _, words in command_lines(rest)]
    built = [words for words in run if words[0] == "sslbolts"]
    assert len(built) == 2
    for command in [*shown, *built]:
        try_command(command)


def test_the_devcontainer_installs_an_extra_that_there_is():
    found = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert found["postCreateCommand"].endswith("'.[test]'")


def test_the_slurm_job_is_bash_and_its_command_is_understood(tmp_path, monkeypatch):
    script = ROOT / "examples" / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    options = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in re.findall(r"#SBATCH .+", text))
    assert options["signal"] == "SIGUSR1@120"
    assert "requeue" in options
    (added,) = re.findall(r"^#   sbatch examples/slurm\.sh (.*)$", text, flags=re.MULTILINE)
    body = text[text.index("\nsrun") :].replace('"$@"', added)
    (command,) = [words for _, words in command_lines(body)]
    data = yaml.safe_load((ROOT / "configs" / "simclr_imagenet.yaml").read_text())["data"]["init_args"]
    assert {f"--data.{name}" for name in data if name in ("root", "labeled_val")} <= set(command)
    monkeypatch.chdir(tmp_path)
    try_command(command[command.index("sslbolts") :])
    for option, name in (("nodes", "num_nodes"), ("ntasks-per-node", "devices"), ("gpus-per-node", "devices")):
        assert command[command.index(f"--trainer.{name}") + 1] == options[option]


@pytest.mark.parametrize("signal", ["--trainer.plugins=SLURMEnvironment", "--trainer.plugins.auto_requeue=false"])
def test_the_slurm_job_says_options_that_there_are(signal):
    assert signal.replace("=", " ") in (ROOT / "examples" / "slurm.sh").read_text()
