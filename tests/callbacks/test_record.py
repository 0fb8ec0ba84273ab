"""run.json: what a run was started with."""

import json
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sslbolts.callbacks import RunRecord, record
from sslbolts.callbacks.pictures.shared.publisher import Publisher
from sslbolts.callbacks.shared.redaction import redact, redact_command
from sslbolts.callbacks.shared.run_settings import run_settings
from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.pictures.style import new_figure
from sslbolts.transforms import MultiView, View, recipe
from tests.callbacks.host import Host, train_loader, trainer, val_loader


@pytest.fixture(autouse=True)
def _in_no_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # which another test may have imported


def test_the_record_says_command_versions_machine_and_duration(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python", "some/train.py", "--lr", "0.1", "two words"])
    trainer(RunRecord(), default_root_dir=tmp_path).fit(Host(), train_loader(), val_loader())
    written = json.loads((tmp_path / "run.json").read_text())
    assert shlex.split(written["command"]) == ["python", "some/train.py", "--lr", "0.1", "two words"]
    assert written["working_directory"] == str(Path.cwd())
    assert written["model"] == "Host"
    assert written["data"] is None
    assert written["versions"]["torch"] == torch.__version__
    assert written["machine"]["processor"]
    assert written["devices"] == "1 x cpu"
    assert (written["epochs"], written["steps"]) == (2, 20)
    assert written["seconds"] >= 0
    assert written["settings"]["data"] == {"batch_size": train_loader().batch_size}
    known = {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "accumulate_grad_batches": 1, "precision": "32-true"}
    assert written["settings"]["trainer"].items() >= known.items()
    assert "RunRecord" in written["settings"]["trainer"]["callbacks"]


def test_the_recorded_views_and_arguments_of_the_data_make_the_same_data():
    view = replace(recipe("simclr", 32).views[0], scale=(0.2, 1.0), flip=0.25)
    data = CIFAR10MiniDataModule(batch_size=48, views=MultiView((view, view), normalize=False), drop_last=False)
    host = trainer()
    host.datamodule = data
    stated = run_settings(host)["data"]
    assert stated["class_path"] == "sslbolts.data.cifar.CIFAR10MiniDataModule"
    given = stated["init_args"]
    given["views"] = eval(given["views"], {"MultiView": MultiView, "View": View})
    again = CIFAR10MiniDataModule(**given)
    assert (again.batch_size, again.drop_last, again.image_size) == (48, False, 32)
    assert again.views == data.views


@pytest.mark.parametrize(
    ("started", "environment", "command"),
    [
        (["/usr/bin/python3", "-m", "pkg.train", "--lr=1"], {}, "python3 -m pkg.train --lr=1"),
        (["python", str(Path(sys.executable).parent / "sslbolts"), "fit"], {}, "sslbolts fit"),
        (
            ["/usr/bin/python", "-u", "scripts/train.py", "--lr=1"],
            {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"},
            "torchrun --nnodes=2 --nproc-per-node=4 scripts/train.py --lr=1",
        ),
        (["python"], {}, ""),  # at its prompt
    ],
)
def test_the_command_is_one_that_runs(monkeypatch, started, environment, command):
    monkeypatch.setattr(sys, "orig_argv", started)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert RunRecord().command == command


def test_a_notebook_has_no_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    trainer(RunRecord(), default_root_dir=tmp_path, max_epochs=1).fit(Host(), train_loader(), val_loader())
    assert json.loads((tmp_path / "run.json").read_text())["command"] is None


def test_the_commit_of_a_project_is_not_that_of_what_is_installed_in_it(monkeypatch, tmp_path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=me", "-c", "user.email=me@host"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    installed = tmp_path / ".venv" / "record.py"
    installed.parent.mkdir()
    installed.touch()
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.setattr(record, "_CODE", {"project": tmp_path, "sslbolts": installed})
    trainer(RunRecord(["c"]), default_root_dir=tmp_path, max_epochs=1).fit(Host(), train_loader(), val_loader())
    assert json.loads((tmp_path / "run.json").read_text())["commits"] == {"project": git("rev-parse", "HEAD").strip()}
    git("add", str(installed))
    git("commit", "-q", "-m", "second")
    trainer(RunRecord(["c"]), default_root_dir=tmp_path, max_epochs=1).fit(Host(), train_loader(), val_loader())
    assert set(json.loads((tmp_path / "run.json").read_text())["commits"]) == {"project", "sslbolts"}


def test_a_resumed_run_keeps_the_command_it_was_begun_with(tmp_path):
    run = trainer(RunRecord(["begin"]), default_root_dir=tmp_path, max_epochs=1)
    run.fit(Host(), train_loader(), val_loader())
    run.save_checkpoint(tmp_path / "last.ckpt")
    for name in ("again", "and again"):
        more = trainer(RunRecord([name]), default_root_dir=tmp_path, max_epochs=2)
        more.fit(Host(), train_loader(), val_loader(), ckpt_path=tmp_path / "last.ckpt")
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["command"] == "'and again'"
    assert written["earlier_commands"] == ["begin", "again"]


def test_a_record_and_a_picture_that_cannot_be_written_end_no_training(tmp_path):
    (tmp_path / "file").write_text("")
    begun = RunRecord(["sslbolts", "fit"])
    begun._path = tmp_path / "file" / "run.json"
    with pytest.warns(UserWarning, match=r"run\.json could not be written"):
        begun._write()
    with pytest.warns(UserWarning, match=r"neighbors\.png could not be written"):
        Publisher("neighbors").publish(trainer(), new_figure(1, 1), tmp_path / "file" / "neighbors.png")


def test_no_record_of_a_dry_run(tmp_path):
    trainer(RunRecord(), default_root_dir=tmp_path, fast_dev_run=True).fit(Host(), train_loader(), val_loader())
    assert not (tmp_path / "run.json").exists()


def test_passwords_and_keys_are_left_out():
    command = [
        "fit",
        "--a.api_key=1x",
        "--token",
        "2x",
        "--logger={'password': '3x', \"SECRET_KEY\": \"4x\"}",
        "W_TOKEN=5x",
    ]
    shown = " ".join(redact(command))
    assert not any(f"{number}x" in shown for number in range(1, 6))
    assert redact("wandb://me:hunter2@host/run?api_key=9x") == "wandb://***@host/run?api_key=***"
    assert redact({"logger": {"api-key": "7x", "id": 3}, "tokens": ["8x"]}) == {
        "logger": {"api-key": "***", "id": 3},
        "tokens": ["8x"],
    }


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--password=my secret pass"], ["--password=***"]),
        (["--logger.api_key=abc,def;ghi"], ["--logger.api_key=***"]),
        (["WANDB_API_KEYS=a=b c"], ["WANDB_API_KEYS=***"]),
        (["--token", "a b", "--token", "--lr", "1"], ["--token", "***", "--token", "--lr", "1"]),
        ({"password": 123456, "auth": ("me", "x")}, {"password": "***", "auth": "***"}),
        ({"credentials": {"key": "x"}, "secrets": ["x"]}, {"credentials": "***", "secrets": "***"}),
        (
            {"accessToken": "x", "db_pwd": "x", "passphrase": "x"},
            {"accessToken": "***", "db_pwd": "***", "passphrase": "***"},
        ),
        ({"X-Api-Key": "x", "logger.secret": "x"}, {"X-Api-Key": "***", "logger.secret": "***"}),
        ({"password": None, "token": True, "secret": ""}, {"password": None, "token": True, "secret": ""}),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("curl -H 'X: Bearer abc.def'", "curl -H 'X: Bearer ***'"),
        (
            "https://host/p?sig=AB%3D&x=1&X-Amz-Signature=f&key=g",
            "https://host/p?sig=***&x=1&X-Amz-Signature=***&key=***",
        ),
        ("s3://me:p@ss@host/x", "s3://***@host/x"),
        ('{"password": "a\\"b, c", "lr": 3}', '{"password": "***", "lr": 3}'),
        ("fit '--a.password=a b' c", "fit '--a.password=***' c"),
        ("{a_token: x, password: y z, lr: 3}", "{a_token: ***, password: ***, lr: 3}"),
        ("password: mine, all mine\nlr: 3", "password: ***\nlr: 3"),
        ("password = mine lr = 3", "password = *** lr = 3"),
        ("of hf_abcdefghijklmnopqrst", "of ***"),
    ],
)
def test_secrets_are_hidden_to_their_end(given, shown):
    assert redact(given) == shown
    assert redact(shown) == shown


_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF-_123"
_PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc+/\nxyz==\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([{"name": "WANDB_API_KEY", "value": "x"}], [{"name": "WANDB_API_KEY", "value": "***"}]),
        ([{"value": 12, "key": "db_password"}], [{"value": "***", "key": "db_password"}]),
        ([{"name": "LR", "value": "x"}], [{"name": "LR", "value": "x"}]),
        ({"env": [["WANDB_API_KEY", "x"], ["LR", "x"]]}, {"env": [["WANDB_API_KEY", "***"], ["LR", "x"]]}),
        ({"headers": [["Cookie", "x"]]}, {"headers": [["Cookie", "***"]]}),
        ("--env=[{name: WANDB_API_KEY, value: x}]", "--env=[{name: WANDB_API_KEY, value: ***}]"),
        ('[{"value": "x y", "name": "A_TOKEN"}]', '[{"value": ***, "name": "A_TOKEN"}]'),
        (
            "- name: A_TOKEN\n  value: x\n- name: LR\n  value: x",
            "- name: A_TOKEN\n  value: ***\n- name: LR\n  value: x",
        ),
        ("Set-Cookie: id=x; Path=/; HttpOnly", "Set-Cookie: ***"),
        (["-H", "Cookie: a=x; b=y"], ["-H", "Cookie: ***"]),
        ({"cookies": {"a": "x"}, "session_id": "x"}, {"cookies": "***", "session_id": "***"}),
        (f"of {_JWT}, and", "of ***, and"),
        ({"a": _JWT}, {"a": "***"}),
        (f"before {_PEM} after", "before *** after"),
        ({"ssh": _PEM[:60]}, {"ssh": "***"}),  # cut off
        ("at https://hooks.slack.com/services/T0/B0/x.", "at https://hooks.slack.com/***"),
        ("https://discord.com/api/webhooks/12/x", "https://discord.com/api/webhooks/***"),
        ("https://me.webhook.office.com/webhookb2/x@1/y", "https://me.webhook.office.com/***"),
        ("https://api.telegram.org/bot12:x/send", "https://api.telegram.org/bot***"),
    ],
)
def test_secrets_are_known_by_the_name_beside_them_or_by_their_look(given, shown):
    assert redact(given) == shown
    assert redact(shown) == shown


def test_of_a_line_of_a_shell_the_whole_argument_is_hidden():
    line = shlex.join(["fit", "--password=it's my, secret", "--token", "two words", "--lr=1"])
    assert shlex.split(redact_command(line)) == ["fit", "--password=***", "--token", "***", "--lr=1"]
    assert redact_command('fit "--lr=1"') == 'fit "--lr=1"'
    assert "secret" not in redact_command("fit '--password=my secret")


def test_long_texts_take_no_longer_than_their_length():
    parts = ("key-", "a.", "token=,", "token: , ", "?a&", "password='", "token ", "eyJ-", "-----BEGIN A-----")
    for part in (*parts, "value:", "value: 'a", "name:", "http://webhook", "http://hooks/", "name: token, value: "):
        began = time.process_time()
        redact("?" + part * (30_000 // len(part)))
        assert time.process_time() - began < 5  # with a search that goes back at every word, half a minute and more


def test_what_is_no_secret_stays():
    command = ["fit", "--monitor", "knn/k20_t0.07", "--tokenizer=bpe", "--model.num_tokens=4", "--key_frames", "3"]
    command += [
        "--class_token=False",
        "--author=me",
        "--monkey=1",
        "https://host/p?page=2",
        "mean of the class token: 3",
    ]
    assert redact(command) == command
    config = {"num_tokens": 4, "tokens": ["x"], "mask_token": "zero", "secretary": 1, "accuracy/token_mean": 0.5}
    assert redact(config) == config
