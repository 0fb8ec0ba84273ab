"""``sslbolts report``: a page that stands alone, says what the folder says, and trusts nothing in it."""

import json
import re

import pytest
import yaml

from sslbolts.cli.main import main
from sslbolts.evaluation.result import Result
from sslbolts.report import read_run, write_report
from tests.report.folders import make_run
from tests.report.page_reader import Page


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "run")


def report(*folders, output) -> Page:
    assert main(["report", *map(str, folders), f"--output={output}"]) == 0
    return Page(output)


def refers_to_nothing_outside(page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            if name in attributes:
                value = attributes[name]
                assert value.startswith("data:") or value.removeprefix("#") in ids, value
        assert not any(name.startswith("on") for name in attributes)
    (style,) = page.of("style")
    assert "url(" not in style
    assert "@import" not in style


def test_a_page_stands_alone_and_has_all_sections(folder, tmp_path, capsys):
    page = report(folder, output=tmp_path / "out" / "report.html")
    assert "wrote" in capsys.readouterr().out
    refers_to_nothing_outside(page)
    titles = ["Curves", "Results", "Evaluations", "Pictures", "Configuration", "Environment", "Reproduce"]
    assert page.of("h2") == titles
    assert page.of("h1") == ["SimCLR on CIFAR10Mini"]
    for words in ("2 epochs, 20 steps", "trained in 3 min 9 s", "Abacus 3", "2.99.1", "0123abcd", "torch.optim.SGD"):
        assert words in page.text
    assert "sslbolts fit --model SimCLR" in page.of("pre")
    assert f"sslbolts fit --config {folder / 'config.yaml'}" in page.of("pre")


def test_results_stand_beside_their_baselines(folder, tmp_path):
    rows = report(folder, output=tmp_path / "r.html").rows()
    head = rows.index(["features", "20 nearest neighbours", "Ridge, closed form"])
    assert rows[head + 1 : head + 5] == [
        ["raw pixels", "38.3", ""],
        ["untrained network", "31.0", ""],
        ["SimCLR, at the end", "45.0", "38.0"],
        ["SimCLR, best of all epochs", "45.0epoch 2", "40.0epoch 1"],
    ]
    assert ["top1", "51.20 %"] in rows
    assert ["recipe", "dino"] in rows


def test_curves_have_every_value_under_the_pointer(folder, tmp_path):
    page = report(folder, output=tmp_path / "r.html")
    values = page.of("title")
    assert {"epoch 1: 30.0 %", "epoch 2: 45.0 %", "raw pixels: 38.3 %", "epoch 2: 14.5"} <= set(values)
    assert len([value for value in values if re.fullmatch(r"epoch [\d.]+: [345]\.?\d*", value)]) == 20  # the loss


def test_the_last_picture_of_each_kind_is_shown_and_earlier_ones_can_be_unfolded(folder, tmp_path):
    page = report(folder, output=tmp_path / "r.html")
    shown = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert shown == [
        "Nearest neighbours (neighbours-epoch0002.png)",
        "Nearest neighbours (neighbours-epoch0001.png)",
        "Features in two dimensions (embedding-epoch0002.png)",
        "Holiday (holiday.png)",
    ]
    assert "Nearest neighbours: earlier epochs" in page.of("summary")


def test_passwords_stay_out(folder, tmp_path):
    command = "sslbolts fit --trainer.logger.api_key=sesame123 '--password=open sesame123'"
    (folder / "run.json").write_text(json.dumps({"command": command, "earlier_commands": [command]}))
    Result(
        *("linear", "https://me:sesame123@host/last.ckpt", "CIFAR10Mini", {"token": 0.25}),
        {"logger": {"password": "sesame123"}, "api_key": "sesame123"},
        [{"secret": "sesame123"}],
        ["token=sesame123"],
    ).save(folder / "evaluation" / "secret.json")
    page = report(folder, output=tmp_path / "r.html")
    assert "sesame123" not in page.source
    assert ["token", "0.25"] in page.rows()
    assert "***" in page.source


def test_nothing_in_the_files_becomes_markup(tmp_path):
    bad = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;' "
    folder = make_run(tmp_path / "run <b>bold</b>")
    (folder / "run.json").write_text(json.dumps(dict.fromkeys(("command", "model", "data", "started"), bad)))
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {bad: bad}, bad: [bad, {bad: bad}]}))
    (folder / "metrics.csv").write_text(f'epoch,step,"{bad.replace(chr(34), chr(34) * 2)}/loss"\n0,0,1\n0,1,2\n')
    result = {"protocol": bad, "source": bad, "data": bad, "metrics": {bad: 0.5}, "settings": {bad: bad}}
    result |= {"rows": [{bad: bad}], "notes": [bad]}
    (folder / "evaluation" / "bad.json").write_text(json.dumps(result))
    for folders in ([folder], [folder, make_run(tmp_path / "other")]):
        page = report(*folders, output=tmp_path / "r.html")
        refers_to_nothing_outside(page)
        assert bad.strip() in page.text
        assert not [tag for tag, _ in page.tags if tag in ("script", "b") and "<b>bold" in page.source]


def test_files_that_cannot_be_read_are_named_and_the_page_is_there(folder, tmp_path):
    (folder / "config.yaml").write_text("a: [b\n")
    (folder / "run.json").write_text("{")
    (folder / "evaluation" / "notes.json").write_text('{"protocol": "knn"}')
    (folder / "evaluation" / "wrong.json").write_text(
        '{"protocol": "a", "source": "b", "data": "c", "metrics": [1], "settings": 2}'
    )
    (folder / "pictures" / "damaged.png").write_bytes(b"nothing")
    page = report(folder, output=tmp_path / "r.html")
    for name in ("config.yaml", "run.json", "notes.json", "wrong.json"):
        assert any(name in text for text in page.of("li")), name


def test_yaml_of_python_objects_makes_none(tmp_path):
    mark = tmp_path / "called"
    (tmp_path / "hparams.yaml").write_text(
        f"betas: !!python/tuple [0.9, 0.999]\nname: !!python/object/apply:os.mkdir ['{mark}']\n"
    )
    assert read_run(tmp_path).flat_config == {"model.betas": "0.9, 0.999", "model.name": str(mark)}
    assert not mark.exists()


def test_results_of_one_protocol_stand_beside_each_other_with_what_tells_them_apart(tmp_path):
    folders = [make_run(tmp_path / name, lr=lr) for name, lr in (("a", 0.1), ("b", 0.3))]
    for number, (source, recipe, top1) in enumerate((("epoch=1.ckpt", "dino", 0.311), ("last.ckpt", "moco", 0.622))):
        result = Result("linear", source, "CIFAR10Mini", {"top1": top1}, {"recipe": recipe})
        result.save(folders[0] / "evaluation" / f"linear-{number}.json")
    page = report(folders[0], output=tmp_path / "one.html")
    for title in ("epoch=1.ckpt; recipe: dino", "last.ckpt; recipe: dino", "last.ckpt; recipe: moco"):
        assert f"linear on CIFAR10Mini (of: {title})" in page.text
    rows = report(*folders, output=tmp_path / "both.html").rows()
    named = "linear on CIFAR10Mini (of: {}; recipe: {}): top1"
    assert [named.format("epoch=1.ckpt", "dino"), "31.10 %", ""] in rows
    assert [named.format("last.ckpt", "moco"), "62.20 %", ""] in rows
    assert [named.format("last.ckpt", "dino"), "51.20 %", "51.20 %"] in rows


def test_several_runs_are_compared(tmp_path):
    folders = [
        make_run(tmp_path / "a" / "run", lr=0.1),
        make_run(tmp_path / "b" / "run", lr=0.3, knn=(0.2, 0.5), model="BYOL"),
    ]
    page = report(*folders, output=tmp_path / "r.html")
    refers_to_nothing_outside(page)
    rows = page.rows()
    assert ["raw pixels", "", "38.3", ""] in rows
    assert ["a/runSimCLR", "2", "45.0", "38.0"] in rows
    assert ["b/runBYOL", "2", "50.0", "38.0"] in rows
    assert ["model.optimizer.lr", "0.1", "0.3"] in rows
    assert ["model", "sslbolts.SimCLR", "sslbolts.BYOL"] in rows
    assert not any(row[0] == "model.temperature" for row in rows)
    assert "2 of 9 settings differ." in page.text
    assert ["linear on CIFAR10Mini: top1", "51.20 %", "51.20 %"] in rows
    assert {"a/run, epoch 2: 45.0 %", "b/run, epoch 2: 50.0 %"} <= set(page.of("title"))


@pytest.mark.parametrize("keep", ["metrics.csv", "config.yaml", "holiday.png", "evaluation"])
def test_a_folder_needs_no_more_than_one_of_its_parts(folder, tmp_path, keep):
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.name != keep and keep not in str(path.parent):
            path.rmdir() if path.is_dir() else path.unlink()
    refers_to_nothing_outside(report(folder, output=tmp_path / "r.html"))


def test_what_is_no_run_is_refused(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for argv, words in [
        ([str(tmp_path / "rum")], 'Did you mean "run"?'),
        ([str(tmp_path / "empty")], "is of a run"),
        ([str(folder), str(folder)], "given twice"),
        ([str(folder), "--output=page.txt"], "must end in .html"),
        ([str(tmp_path)], "There are runs in"),
        ([], "the following arguments are required"),
    ]:
        assert main(["report", *argv]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_the_page_of_one_run_goes_into_its_folder(folder, capsys):
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()


def test_python_can_write_it_too(folder, tmp_path):
    assert write_report([folder], tmp_path / "page.html") == tmp_path / "page.html"
