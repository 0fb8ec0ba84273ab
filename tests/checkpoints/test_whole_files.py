"""A checkpoint is written whole or not at all, and a damaged one is refused."""

import os
import resource

import pytest
import torch

from sslbolts import SimCLR, UsageError
from sslbolts.checkpoints.lightning_files import PlainCheckpointIO
from tests.helpers.nets import TinyBackbone
from tests.helpers.trainers import quiet_trainer
from tests.helpers.views import noise_loader

CONTENT = {"state_dict": {"weight": torch.arange(5000.0)}, "epoch": 1}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "last.ckpt"
    PlainCheckpointIO().save_checkpoint(CONTENT, path)
    return path


def test_what_was_saved_is_loaded(saved):
    found = PlainCheckpointIO().load_checkpoint(saved)
    assert torch.equal(found["state_dict"]["weight"], CONTENT["state_dict"]["weight"])
    assert [path.name for path in saved.parent.iterdir()] == ["last.ckpt"]


def test_the_old_file_stays_while_the_new_one_is_written_beside_it(saved, monkeypatch):
    before, save, seen = saved.read_bytes(), torch.save, []

    def watched(content, file):
        seen.append((saved.read_bytes() == before, os.stat(file.name).st_dev == os.stat(saved.parent).st_dev))
        save(content, file)
        file.flush()
        seen.append((saved.read_bytes() == before, len(list(saved.parent.iterdir())) == 2))

    monkeypatch.setattr(torch, "save", watched)
    PlainCheckpointIO().save_checkpoint({**CONTENT, "epoch": 2}, saved)
    assert seen == [(True, True), (True, True)]
    assert PlainCheckpointIO().load_checkpoint(saved)["epoch"] == 2


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on the size of files here")
def test_a_full_disk_leaves_the_checkpoint_from_before(saved):
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(UsageError, match=r"last\.ckpt could not be written: "):
            PlainCheckpointIO().save_checkpoint(CONTENT, saved)
        with pytest.raises(UsageError, match=r"new\.ckpt could not be written: "):
            PlainCheckpointIO().save_checkpoint(CONTENT, saved.with_name("new.ckpt"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["last.ckpt"]


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    place = content.index(torch.arange(5000.0).numpy().tobytes()[2000:2064]) + 7  # inside a tensor
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [_cut, _flipped, lambda content: b"", lambda content: b"\0" * len(content)])
def test_a_damaged_file_is_refused_and_the_newest_whole_one_named(damage, saved):
    for number, name in enumerate(("epoch=0.ckpt", "epoch=1.ckpt", "epoch=2.ckpt")):
        other = saved.with_name(name)
        other.write_bytes(saved.read_bytes() if number < 2 else _cut(saved.read_bytes()))
        os.utime(other, (1e9 + number, 1e9 + number))
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(
        UsageError, match=r'last\.ckpt" is damaged.*the newest whole one beside it is ".*epoch=1\.ckpt"'
    ):
        PlainCheckpointIO().load_checkpoint(saved)


def test_a_run_is_not_resumed_from_a_damaged_file(tmp_path):
    method = SimCLR(TinyBackbone(), hidden_dim=8, output_dim=8)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(method, noise_loader(8, 8, (32, 32)))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    content = bytearray((tmp_path / "last.ckpt").read_bytes())
    place = content.index(method.projector[0].weight.detach().numpy().tobytes()[:64])
    content[place] ^= 1
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(UsageError, match="is damaged"):
        quiet_trainer(max_steps=2).fit(
            SimCLR(TinyBackbone(), hidden_dim=8, output_dim=8),
            noise_loader(8, 8, (32, 32)),
            ckpt_path=tmp_path / "last.ckpt",
        )
    with pytest.raises(UsageError, match="is damaged"):
        SimCLR.load_from_checkpoint(tmp_path / "last.ckpt")
