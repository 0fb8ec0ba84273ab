"""Other libraries' checkpoints: what is said of them, what in them is passed over, and what is refused."""

import argparse
import copy
import enum
from pathlib import Path

import pytest
import torch

from sslbolts import UsageError, load_backbone
from sslbolts.export import Layout, read_backbone
from tests.checkpoints.test_foreign import IMAGES, ddp, head, resnet18, under
from tests.helpers.nets import TinyBackbone


def test_a_layout_of_ones_own(tmp_path):
    network = resnet18()
    torch.save({"net": under("trunk.", network.state_dict())}, tmp_path / "mine.pth")
    with pytest.raises(UsageError, match=r"no layout that is known; in it stand net.*layout=Layout"):
        load_backbone(tmp_path / "mine.pth")
    mine = Layout("mine", "my project", "trunk.", under=("net",))
    loaded = load_backbone(tmp_path / "mine.pth", layout=mine)
    torch.testing.assert_close(loaded(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)


def test_the_report_names_what_was_left(tmp_path):
    state = resnet18().state_dict()
    without_counters = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    tensors = {
        **under("encoder_q.", without_counters),
        **under("encoder_k.", state),
        **head("queue", "encoder_q.fc.bias"),
    }
    torch.save({"state_dict": ddp(tensors)}, tmp_path / "moco.pth.tar")
    report = read_backbone(tmp_path / "moco.pth.tar").report
    assert set(report.left_in_file) == {*under("encoder_k.", state), "queue", "fc.bias"}
    assert len(report.left_in_network) == 21
    assert "queue 1" in str(report)
    assert "missing in it: bn1.num_batches_tracked" in str(report)


class Mode(enum.Enum):
    FAST = "fast"


class Note:
    """Of a class that nobody else has; an Enum would be told by ``getattr`` in Python 3.11.0 to 3.11.3."""


class Dangerous:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of the file was run')",))


@pytest.mark.parametrize(
    "thing", [Mode.FAST, Path("x"), argparse.Namespace(lr=1), Dangerous(), copy.copy(Layout("a", "b", "c"))]
)
def test_objects_of_other_classes_are_passed_over_and_never_run(thing, tmp_path):
    state = resnet18().state_dict()
    torch.save({"state_dict": state, "args": thing, "callbacks": {type(thing): 1}}, tmp_path / "theirs.pth")
    assert load_backbone(tmp_path / "theirs.pth").conv1.weight.equal(state["conv1.weight"])


def test_an_old_file_with_other_classes_is_named_with_the_way_out(tmp_path):
    state = {"conv1.weight": torch.zeros(1)}
    torch.save({"state_dict": state, "mode": Note()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(UsageError, match=r"needs the class .*test_foreign_files\.Note.*weights_only=False"):
        load_backbone(tmp_path / "old.pth")


def test_what_does_not_match_is_an_error(tmp_path):
    state = dict(resnet18().state_dict())
    torch.save({"state_dict": under("encoder_q.", {"a.b": torch.zeros(1)})}, tmp_path / "nothing.pth")
    with pytest.raises(UsageError, match=r'nothing of this TinyBackbone matched.*layout "moco"'):
        load_backbone(tmp_path / "nothing.pth", backbone=TinyBackbone())
    del state["layer3.1.bn2.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(UsageError, match=r"only 125 of 126 tensors.*missing layer3\.1\.bn2\.weight"):
        load_backbone(tmp_path / "part.pth")
    torch.save({**resnet18().state_dict(), "layer4.2.conv1.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(UsageError, match=r"no ResNet that is known has \(2, 2, 2, 3\) blocks"):
        load_backbone(tmp_path / "more.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="holds a list"):
        load_backbone(tmp_path / "list.pth")
    with pytest.raises(UsageError, match=r'no layout "mocco"\. Did you mean "moco"'):
        load_backbone(tmp_path / "part.pth", layout="mocco")
    torch.save({"state_dict": under("encoder.", resnet18("cifar").state_dict()) | head("projection.model.0.x"),
                "hyper_parameters": {"first_conv": False, "maxpool1": True}}, tmp_path / "pooled.ckpt")  # fmt: skip
    with pytest.raises(UsageError, match=r"max-pooling .*there is no stem"):
        load_backbone(tmp_path / "pooled.ckpt")
