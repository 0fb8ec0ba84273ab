"""``sslbolts report``: a page that stands alone, says what the folder says, and trusts nothing in it."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from sslbolts.cli.main import main
from sslbolts.evaluation.result import Result
from sslbolts.report import page as page_of_run
from sslbolts.report import read_run, write_report
from sslbolts.report.logged import accuracies
from sslbolts.report.metrics import Point
from sslbolts.report.run import Run
from sslbolts.report.verdict import Verdict, verdict
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
    head = rows.index(["features", "20 nearest neighbors", "Ridge, closed form"])
    assert rows[head + 1 : head + 5] == [
        ["raw pixels", "38.3", ""],
        ["untrained network", "31.0", ""],
        ["SimCLR, at the end", "45.0", "38.0"],
        ["SimCLR, best of all epochs", "45.0epoch 2", "40.0epoch 1"],
    ]
    assert ["top1", "51.20 %"] in rows
    assert ["settings", "dino"] in rows


def test_curves_have_every_value_under_the_pointer(folder, tmp_path):
    page = report(folder, output=tmp_path / "r.html")
    values = page.of("title")
    assert {"epoch 1: 30.0 %", "epoch 2: 45.0 %", "raw pixels: 38.3 %", "epoch 2: 14.5"} <= set(values)
    assert len([value for value in values if re.fullmatch(r"epoch [\d.]+: [345]\.?\d*", value)]) == 20  # the loss


def test_the_last_picture_of_each_kind_is_shown_and_earlier_ones_can_be_unfolded(folder, tmp_path):
    page = report(folder, output=tmp_path / "r.html")
    shown = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert shown == [
        "Nearest neighbors (neighbors-epoch0002.png)",
        "Nearest neighbors (neighbors-epoch0001.png)",
        "Features in two dimensions (embedding-epoch0002.png)",
        "Holiday (holiday.png)",
    ]
    assert "Nearest neighbors: earlier epochs" in page.of("summary")


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
    record = dict.fromkeys(("command", "model", "data", "started", "seed"), bad)
    record |= {"settings": {"data": {bad: bad}, "trainer": [bad]}, "versions": {bad: bad}}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {bad: bad}, bad: [bad, {bad: bad}]}))
    (folder / "metrics.csv").write_text(f'epoch,step,"{bad.replace(chr(34), chr(34) * 2)}/loss"\n0,0,1\n0,1,2\n')
    result = {"protocol": bad, "source": bad, "data": bad, "metrics": {bad: 0.5}, "settings": {bad: bad}}
    result |= {"rows": [{bad: bad}], "notes": [bad]}
    (folder / "evaluation" / "bad.json").write_text(json.dumps(result))
    result |= {"protocol": "diagnose", "settings": {"h": bad}, "rows": [{"what": bad, "h/top1": bad}]}
    (folder / "evaluation" / "worse.json").write_text(json.dumps(result))
    shutil.copy(folder / "holiday.png", folder / "<b>bold <script>.png")
    unconfigured = shutil.copytree(folder, tmp_path / "unconfigured")
    (unconfigured / "config.yaml").unlink()
    for folders in ([folder], [unconfigured], [folder, make_run(tmp_path / "other")]):
        page = report(*folders, output=tmp_path / "r.html")
        refers_to_nothing_outside(page)
        assert bad.strip() in page.text
        assert not [tag for tag, _ in page.tags if tag in ("script", "b") and "<b>bold" in page.source]


def test_a_run_without_configuration_shows_the_settings_that_it_recorded(folder, tmp_path):
    (folder / "config.yaml").unlink()
    (folder / "hparams.yaml").write_text("temperature: 0.2\n")
    views = "MultiView(views=(View(size=32),) * 2)"
    data = {"class_path": "sslbolts.data.CIFAR10MiniDataModule", "init_args": {"batch_size": 128, "views": views}}
    record = json.loads((folder / "run.json").read_text())
    record |= {"seed": "7", "settings": {"data": data, "trainer": {"max_epochs": 16, "precision": "bf16-mixed"}}}
    (folder / "run.json").write_text(json.dumps(record))
    rows = report(folder, output=tmp_path / "r.html").rows()
    for row in (
        ["batch_size", "128"],
        ["views", views],
        ["max_epochs", "16"],
        ["precision", "bf16-mixed"],
        ["temperature", "0.2"],
        ["seed_everything", "7"],
    ):
        assert row in rows


def test_the_diagnosis_comes_last_as_features_beside_embeddings(folder, tmp_path):
    metrics = {"h/knn/top1": 0.5, "g(h)/knn/top1": 0.4, "h/rankme": 31.26, "g(h)/rankme": 4.5, "h/other": 0.25}
    readers = {"h": "backbone, 512 numbers", "g(h)": "projector, 128 numbers"}
    row = {"what": "rotation", "random guess/top1": 0.25, "h/top1": 0.75, "g(h)/top1": 0.5}
    Result("diagnose", "last.ckpt", "CIFAR10Mini", metrics, readers, [row]).save(folder / "evaluation" / "a.json")
    for protocol in ("layers", "knn"):
        Result(protocol, "last.ckpt", "CIFAR10Mini", {"top1": 0.5}).save(folder / "evaluation" / f"{protocol}.json")
    page = report(folder, output=tmp_path / "r.html")
    known = [text for text in page.of("h3") if " on CIFAR10Mini" in text]
    assert known == [f"{protocol} on CIFAR10Mini" for protocol in ("knn", "linear", "layers", "diagnose")]
    rows = page.rows()
    place = rows.index(["", "h", "g(h)", "better is"])
    assert rows[place + 1 : place + 3] == [
        ["20 nearest neighbors", "50.00 %", "40.00 %", "more"],
        ["RankMe, dimensions", "31.26", "4.5", "more, up to the width"],
    ]
    assert ["rotation", "25.00 %", "75.00 %", "50.00 %"] in rows
    assert page.source.index("All 5 numbers") > page.source.index("RankMe, dimensions")
    rows = report(folder, make_run(tmp_path / "other"), output=tmp_path / "c.html").rows()
    named = [row[0].removeprefix("diagnose on CIFAR10Mini: ") for row in rows if " on CIFAR10Mini: " in row[0]]
    assert named[-3:] == ["h: RankMe, dimensions", "g(h): RankMe, dimensions", "h/other"]
    assert named[0] == "knn on CIFAR10Mini: top1"


def test_curves_are_drawn_once_and_a_multiple_of_chance_has_an_axis_of_its_own(folder, tmp_path):
    shutil.copy(folder / "holiday.png", folder / "curves.png")
    (folder / "metrics.csv").write_text("epoch,step,train/loss,train/loss_of_chance,val/loss\n0,0,5,1,6\n0,1,4,0.8,5\n")
    page = report(folder, output=tmp_path / "r.html")
    shown = [re.sub(r"^.*<strong>(.*?)</strong>.*$", r"\1", c, flags=re.S) for c in page.source.split("<figure")[1:]]
    assert "Loss" in shown
    assert "Loss as a multiple of that of guessing" in shown
    labels = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert [label for label in labels if "train/loss " in label] == [
        "Loss, over epochs; the last values: train/loss 4, val/loss 5"
    ]
    assert not any("curves.png" in attributes["alt"] for tag, attributes in page.tags if tag == "img")


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


def with_rows(folder, *rows: str) -> None:
    """Loss and accuracy of two epochs of ten steps each, replaced."""
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,train/loss,acc", *rows]) + "\n")


def test_a_run_that_diverged_says_so_first(folder, tmp_path):
    lost = [f"{step // 10},{step},{1 if step < 12 else 'nan'}," for step in range(20)]
    with_rows(folder, *lost, "0,9,,0.5", "1,19,,nan")
    page = report(folder, output=tmp_path / "r.html")
    assert [tag for tag, attributes in page.tags if attributes.get("class") == "alert"] == ["p"]
    assert "train/loss is NaN from epoch 1.3 on." in page.text
    assert "2 epochs, 20 steps" in page.text
    assert "NaN from epoch 1.3 on" in page.of("span")
    assert any("NaN from epoch 2 on" in text for text in page.of("span"))
    rows = page.rows()
    assert ["SimCLR, at the end", "NaN"] in rows
    assert ["SimCLR, best of all epochs", "50.0epoch 1"] in rows
    assert "train/loss: 8 values are not finite (NaN from epoch 1.3 on)." in page.of("li")
    # The curve ends where the numbers do, and not at the end of the chart.
    ends = [float(a["points"].split()[-1].split(",")[0]) for tag, a in page.tags if tag == "polyline"]
    assert ends[0] == pytest.approx(46 + (420 - 46 - 14) * 1.2 / 2, abs=0.1)

    page = report(folder, make_run(tmp_path / "other"), output=tmp_path / "c.html")
    refers_to_nothing_outside(page)
    assert "run: train/loss is NaN from epoch 1.3 on." in page.text
    assert any("run: NaN from epoch 1.3 on" in text for text in page.of("span"))
    assert ["runSimCLRdiverged", "2", "NaN"] in [row[:3] for row in page.rows()]


def test_whether_it_has_learned_anything_stands_before_the_sections(folder, tmp_path):
    page = write_report([folder], tmp_path / "page.html").read_text()
    above = page.partition("<section")[0]
    said = (
        "knn/k20_t0.07 is 45.0 % (raw pixels 38.3 %, untrained network 31.0 %): it has learned what pixels do not show"
    )
    assert f"{said} (RankMe 14.5)." in above
    assert "labeled_train" not in above


def test_without_labels_the_page_says_what_they_would_add_and_what_to_do(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,agreement/top1,agreement/top1/untrained\n0,9,0.25,0.5\n")
    above = write_report([tmp_path], tmp_path / "page.html").read_text().partition("<section")[0]
    assert "agreement/top1 is 25.0 % (untrained network 50.0 %): it has learned nothing" in above
    assert "Train longer; try another learning rate" in above
    assert "--data.labeled_train" in above


def test_the_name_of_a_metric_is_escaped_in_the_verdict():
    series = [Point(1.0, 0.5)]
    found = Run(Path("runs/a"), metrics={"agreement/top1": series})
    hostile = Verdict("agreement/top1", None, "<script>1</script>", "& more")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_of_run, "verdict", lambda *_: hostile)
        shown = page_of_run.run_page(found)
    assert "&lt;script&gt;1&lt;/script&gt; &amp; more" in shown
    assert "<script>1" not in shown


def test_a_run_that_logged_no_number_is_a_run(folder, tmp_path):
    with_rows(folder, "0,0,nan,", "0,1,inf,")
    page = report(folder, output=tmp_path / "r.html")
    assert "train/loss is NaN from epoch 0.5 on." in page.text
    report(folder, make_run(tmp_path / "other"), output=tmp_path / "c.html")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", '{"seconds": NaN, "steps": Infinity, "command": "c"}'),
        ("run.json", f'{{"seconds": 1e300, "steps": {"9" * 400}, "command": "c"}}'),
        ("run.json", '{"seconds": true, "command": "\\ud800"}'),
        ("run.json", '{"a":' * 100_000),
        ("run.json", '{"a":' * 900 + "1" + "}" * 900),
        ("config.yaml", "a: &a [*a]\n"),
        ("config.yaml", "a: &a {b: *a}\n"),
        (
            "config.yaml",
            "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
        ),
        ("config.yaml", 'a: "\\ud800"\n'),
        ("metrics.csv", "epoch,step,train/loss\n-1,0,1\n-1,1,2\n"),
        ("metrics.csv", "epoch,step,train/loss\n0,0,1e308\n0,1,-1e308\n0,2,1e308\n"),
        ("metrics.csv", "epoch,step,train/loss\n0,0,5e-324\n0,1,0\n"),
        ("metrics.csv", f'epoch,step,train/loss\n0,0,"{"1" * 200_000}"\n'),
        ("evaluation/a.json", '{"protocol": "p", "source": "s", "data": "d", "metrics": {"": 0.5}}'),
        ("evaluation/a.json", "[" * 100_000),
    ],
)
def test_no_file_can_keep_the_page_from_being_written(folder, tmp_path, name, content):
    (folder / name).write_text(content)
    for folders in ([folder], [folder, make_run(tmp_path / "other")]):
        page = report(*folders, output=tmp_path / "r.html")
        refers_to_nothing_outside(page)
        places = [a[key] for _, a in page.tags for key in ("points", "cx", "cy", "x1", "y1", "y") if key in a]
        assert not [place for place in places if "nan" in place or "inf" in place]


def test_names_of_files_that_are_no_text(folder, tmp_path):
    strange = folder / "pictures" / os.fsdecode(b"caf\xe9-epoch0001.png")
    try:
        strange.write_bytes((folder / "holiday.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such names")
    assert "Caf?" in report(folder, output=tmp_path / "r.html").text


def test_pictures_of_a_checkpoint_have_their_place(folder, tmp_path):
    place = folder / "checkpoints" / "pictures"
    place.mkdir(parents=True)
    shutil.copy(folder / "holiday.png", place / "embedding.png")
    page = report(folder, output=tmp_path / "r.html")
    assert "Features in two dimensions, checkpoint" in page.of("figcaption")
    assert "Features in two dimensions" in page.of("figcaption")  # of the run's last epoch, as before


def test_of_many_epochs_a_few_pictures_are_on_the_page(folder, tmp_path, monkeypatch):
    for epoch in range(3, 101):
        shutil.copy(folder / "holiday.png", folder / "pictures" / f"neighbors-epoch{epoch:04d}.png")
    page = report(folder, output=tmp_path / "r.html")
    shown = [a["alt"] for tag, a in page.tags if tag == "img" and "Nearest" in a["alt"]]
    assert [re.search(r"\d+", alt).group() for alt in shown] == ["0100", "0001", "0020", "0040", "0060", "0080"]
    assert "Nearest neighbors: earlier epochs, 5 of 99" in page.of("summary")
    assert "94 of 102 pictures are left out here; the run's folder has all." in page.of("p")
    size = (folder / "holiday.png").stat().st_size
    monkeypatch.setattr("sslbolts.report.pictures._MOST_BYTES", 4 * size + size // 2)
    page = report(folder, output=tmp_path / "r.html")
    assert len([tag for tag, _ in page.tags if tag == "img"]) <= 4
    assert any("neighbors-epoch0100" in a["alt"] for tag, a in page.tags if tag == "img")


def test_a_run_has_the_same_color_and_dashes_in_all_charts(tmp_path):
    folders = [make_run(tmp_path / f"run{number:02d}") for number in range(25)]
    with_rows(folders[0], "0,0,1,0.5", "0,1,2,0.6")  # which has no nearest neighbors
    page = report(*folders, output=tmp_path / "r.html")
    looks: dict[str, set[str]] = {}
    for legend in re.findall(r'<ul class="legend">(.*?)</ul>', page.source):
        for look, name in re.findall(r'<i class="key (s\d[ d\d]*)"></i>(\S+) ', legend):
            looks.setdefault(name, set()).add(look)
    assert looks["run01"] == {"s1"}
    assert looks["run07"] == {"s1 d1"}
    assert {name: len(found) for name, found in looks.items()} == dict.fromkeys(looks, 1)
    assert len(set.union(*looks.values())) == 24
    assert len(looks) == 25


def test_values_of_a_chart_can_be_read_without_a_pointer(folder, tmp_path):
    page = report(folder, output=tmp_path / "r.html")
    assert page.of("summary").count("Values") == 4  # loss, two accuracies, and one more curve
    rows = page.rows()
    assert ["", "first", "last", "lowest", "highest"] in rows
    assert ["SimCLR", "30.0 %epoch 1", "45.0 %epoch 2", "30.0 %epoch 1", "45.0 %epoch 2"] in rows
    assert ["train/loss", "5epoch 0.1", "3.1epoch 2", "3.1epoch 2", "5epoch 0.1"] in rows
    labels = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert any("SimCLR 45.0 %, raw pixels 38.3 %" in label for label in labels)


def test_yaml_of_python_objects_makes_none(tmp_path):
    mark = tmp_path / "called"
    (tmp_path / "hparams.yaml").write_text(
        f"betas: !!python/tuple [0.9, 0.999]\nname: !!python/object/apply:os.mkdir ['{mark}']\n"
    )
    assert read_run(tmp_path).flat_config == {"model.betas": "0.9, 0.999", "model.name": str(mark)}
    assert not mark.exists()


def test_results_of_one_protocol_stand_beside_each_other_with_what_tells_them_apart(tmp_path):
    folders = [make_run(tmp_path / name, lr=lr) for name, lr in (("a", 0.1), ("b", 0.3))]
    for number, (source, settings, top1) in enumerate((("epoch=1.ckpt", "dino", 0.311), ("last.ckpt", "moco", 0.622))):
        result = Result("linear", source, "CIFAR10Mini", {"top1": top1}, {"settings": settings})
        result.save(folders[0] / "evaluation" / f"linear-{number}.json")
    page = report(folders[0], output=tmp_path / "one.html")
    for title in ("epoch=1.ckpt; settings: dino", "last.ckpt; settings: dino", "last.ckpt; settings: moco"):
        assert f"linear on CIFAR10Mini (of: {title})" in page.text
    rows = report(*folders, output=tmp_path / "both.html").rows()
    named = "linear on CIFAR10Mini (of: {}; settings: {}): top1"
    assert [named.format("epoch=1.ckpt", "dino"), "31.10 %", ""] in rows
    assert [named.format("last.ckpt", "moco"), "62.20 %", ""] in rows
    assert [named.format("last.ckpt", "dino"), "51.20 %", "51.20 %"] in rows


def test_results_on_several_folders_say_which(tmp_path):
    folders = [make_run(tmp_path / name) for name in ("a", "b")]
    long = f"/data/{'x' * 60}"
    for folder, judged, top1 in ((0, f"{long}/day", 0.1), (0, f"{long}/night", 0.2), (1, f"{long}/night", 0.3)):
        data = {"folder": judged, "images": "train 4", "fingerprint": judged[-3:]}
        result = Result("knn", "last.ckpt", "ImageFolder", {"top1": top1}, {"data": data})
        result.save(folders[folder] / "evaluation" / f"knn-{judged[-3:]}.json")
    (folders[1] / "evaluation" / "ridge.json").write_text(
        Result("ridge", "last.ckpt", "ImageFolder", {"top1": 0.5}, {"data": {"folder": "/data/c"}}).to_json()
    )
    Result("ridge", "last.ckpt", "ImageFolder", {"top1": 0.4}, {"data": {"folder": "/data/d"}}).save(
        folders[0] / "evaluation" / "ridge.json"
    )
    page = report(folders[0], output=tmp_path / "one.html")
    ends = {name: f"…{f'{long}/{name}'[-59:]}" for name in ("day", "night")}
    for name in ends:
        assert f"knn on ImageFolder (data: {ends[name]})" in page.text
        assert f"folder: {long}/{name}; images: train 4" in page.text
    rows = report(*folders, output=tmp_path / "both.html").rows()
    assert [f"knn on ImageFolder (data: {ends['day']}): top1", "10.00 %", ""] in rows
    assert [f"knn on ImageFolder (data: {ends['night']}): top1", "20.00 %", "30.00 %"] in rows
    assert ["ridge on ImageFolder (data: /data/d): top1", "40.00 %", ""] in rows  # other images, other row
    assert ["ridge on ImageFolder (data: /data/c): top1", "", "50.00 %"] in rows


def test_a_page_that_cannot_be_written_is_named(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", str(folder), f"--output={tmp_path}/file/page.html"]) == 2
    assert f"error: {tmp_path}/file/page.html cannot be written: " in capsys.readouterr().err


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


def test_a_comparison_says_of_each_run_what_its_own_page_says(tmp_path):
    good, bad = make_run(tmp_path / "good"), make_run(tmp_path / "bad", knn=(0.3, 0.2))
    rows = report(good, bad, output=tmp_path / "both.html").rows()
    head = rows.index(["run", "by its last numbers"])
    assert [row[0] for row in rows[head + 1 : head + 3]] == ["good", "bad"]
    assert "it has learned what pixels do not show" in rows[head + 1][1]
    assert "it has learned nothing that this shows" in rows[head + 2][1]
    for folder, (_, said) in zip((good, bad), rows[head + 1 : head + 3]):
        assert said.partition(" Train longer")[0] in report(folder, output=tmp_path / "one.html").text


@pytest.mark.parametrize(
    ("values", "learned", "words"),
    [
        ({"train/loss_of_chance": 0.6}, True, "0.60 of that of guessing: it has learned"),
        (
            {"train/loss_of_frequencies": 1.1, "val/loss": 3.0},
            False,
            "by the words' frequencies: it has learned nothing",
        ),
        ({"train/loss_of_chance": float("nan")}, False, "the network has diverged"),
        ({"train/loss": 2.0}, None, "nothing was measured"),
    ],
)
@pytest.mark.parametrize("model", ["Word2Vec", "MaskedLanguageModel"])
def test_a_run_on_text_is_judged_by_its_loss_and_no_monitor_of_images_is_advised(values, learned, words, model):
    found = verdict(values, model)
    assert found.learned is learned
    said = f"{found.line} {found.advice}"
    assert words in said
    assert not any(of_images in said for of_images in ("KNNMonitor", "ViewAgreement", "views", "pixels", "collapse"))
    assert found.labels, "labels of images are not asked for either"


def test_precision_of_several_classes_is_a_measure_like_accuracy():
    found = verdict({"knn/k20_t0.07/map": 0.4, "knn/k20_t0.07/map/raw_pixels": 0.3, "knn/k20_t0.07/map/untrained": 0.2})
    assert (found.measure, found.learned) == ("knn/k20_t0.07/map", True)
    series = {name: [Point(1, 0.5)] for name in ("knn/k20_t0.07/map", "knn/k20_t0.07/map/raw_pixels", "probe/map")}
    first, second = accuracies(Run(Path("runs/a"), metrics=series))
    assert (first.label, first.baselines) == ("20 nearest neighbors, mAP", {"raw pixels": 0.5})
    assert second.label == "Online linear probe, mAP"
