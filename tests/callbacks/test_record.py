"""run.json: what a run was started with."""

import json
import shlex
import sys

import torch

from sslbolts.callbacks import RunRecord
from sslbolts.redaction import redact
from tests.callbacks.host import Host, train_loader, trainer, val_loader


def test_the_record_says_command_versions_machine_and_duration(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/train.py", "--lr", "0.1", "two words"])
    trainer(RunRecord(), default_root_dir=tmp_path).fit(Host(), train_loader(), val_loader())
    record = json.loads((tmp_path / "run.json").read_text())
    assert shlex.split(record["command"]) == ["python", "train.py", "--lr", "0.1", "two words"]
    assert record["model"] == "Host"
    assert record["data"] is None
    assert record["versions"]["torch"] == torch.__version__
    assert record["machine"]["processor"]
    assert record["devices"] == "1 x cpu"
    assert (record["epochs"], record["steps"]) == (2, 20)
    assert record["seconds"] >= 0


def test_a_resumed_run_keeps_the_command_it_was_begun_with(tmp_path):
    run = trainer(RunRecord(["begin"]), default_root_dir=tmp_path, max_epochs=1)
    run.fit(Host(), train_loader(), val_loader())
    run.save_checkpoint(tmp_path / "last.ckpt")
    for name in ("again", "and again"):
        more = trainer(RunRecord([name]), default_root_dir=tmp_path, max_epochs=2)
        more.fit(Host(), train_loader(), val_loader(), ckpt_path=tmp_path / "last.ckpt")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["command"] == "'and again'"
    assert record["earlier_commands"] == ["begin", "again"]


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


def test_what_is_no_secret_stays():
    command = ["fit", "--monitor", "knn/k20_t0.07", "--tokenizer=bpe", "--model.num_tokens=4", "--key_frames", "3"]
    assert redact(command) == command
