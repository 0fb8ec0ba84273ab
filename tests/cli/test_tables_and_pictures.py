"""``sslbolts``, ``sslbolts methods`` and ``sslbolts preview``."""

import os
import re
import subprocess
import sys

import pytest
import torch
from PIL import Image

from sslbolts import METHODS, __version__
from sslbolts.cli import main
from sslbolts.cli.main import VERBS
from sslbolts.cli.preview import _examples
from sslbolts.methods import registry
from sslbolts.methods.pages import PAGES
from sslbolts.methods.registry import get_method


def test_help_lists_every_command(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sslbolts {__version__}\n"


@pytest.mark.parametrize("verb", ["fit", "predict", "preview", "pictures", "report", "methods"])
def test_every_command_explains_itself(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert "usage" in capsys.readouterr().out.lower()


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_has_a_line_for_every_method(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["methods"]) == 0
    text = capsys.readouterr().out
    for name, method in METHODS.items():
        assert name in text
        assert method.paper.rpartition(" ")[2] in text  # the arXiv id, never cut
    assert max(map(len, text.splitlines())) <= width
    said = " ".join(text.split())
    assert "with a ResNet-50 unless it says otherwise" in said
    assert "† quoted from memory, not verified" in said


def test_the_plain_table_is_for_programs(capsys):
    assert main(["methods", "--plain"]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert head == ["name", "family", "views", "needs", "paper", "published"]
    assert [row[0] for row in rows] == list(METHODS)
    assert all(len(row) == len(head) for row in rows)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_page(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["methods", name]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 60
    said = " ".join(text.split())
    page = PAGES[name]
    assert len(re.findall(r"[.](?: |$)", page.idea)) == 3, "an idea has three sentences"
    for part in (page.idea, page.formula.replace(",  ", " "), METHODS[name].paper, METHODS[name].published):
        assert " ".join(part.split()) in said
    assert f"{METHODS[name].module.rpartition('.')[2]}_" in said  # a configuration
    assert "optimizer = " in said


def test_there_is_no_page_without_a_method():
    assert PAGES.keys() == METHODS.keys()


def test_the_page_of_a_misspelt_method_is_the_nearest_name(capsys):
    assert main(["methods", "simclr"]) == 2
    assert 'Did you mean "SimCLR"?' in capsys.readouterr().err


def test_preview_draws_the_packaged_images(tmp_path, capsys):
    output = tmp_path / "sheets" / "views.png"
    assert main(["preview", "--views=byol", "--images=2", "--draws=2", f"--output={output}"]) == 0
    assert str(output) in capsys.readouterr().out
    with Image.open(output) as picture:
        width, height = picture.size
        assert width > height > 200
        assert len(picture.convert("RGB").getcolors(maxcolors=10**7)) > 200  # there are pictures on it


def test_preview_draws_somebodys_folder(tmp_path):
    for number in range(3):
        pixels = torch.randint(0, 256, (50 + number, 40, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    output = tmp_path / "sheet.svg"
    argv = ["preview", "--data=ImageFolder", f"--data.root={tmp_path}", "--data.image_size=32", "--views=dino"]
    assert main([*argv, f"--output={output}"]) == 0
    assert output.read_text().count("<image") == 3 * (1 + 3 * 4)  # DINO has three kinds of views


def test_preview_shows_what_the_method_of_the_recipe_makes_of_its_views(tmp_path):
    output = tmp_path / "views.svg"
    assert main(["preview", "--views=rotnet", "--images=2", "--draws=3", f"--output={output}"]) == 0
    drawn = output.read_text()
    assert drawn.count("<image") == 2 * (1 + 3 + 4)
    assert all(drawn.count(f"<!-- {angle}° -->") == 2 for angle in (0, 90, 180, 270))


def test_preview_imports_only_the_methods_that_have_the_recipe(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(registry, "get_method", lambda name: asked.append(name) or get_method(name))
    assert _examples("rotnet").__self__ is get_method("RotNet")
    assert _examples("byol") is None
    assert _examples({"views": []}) is None
    assert asked == ["RotNet", *(name for name, line in METHODS.items() if line.views == "byol")]


def test_a_terminal_without_accents_gets_question_marks_in_their_place():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-m", "sslbolts", "methods"], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"H?naff" in done.stdout or b"? quoted" in done.stdout
