"""What is read of a checkpoint of ours."""

import torch

from sslbolts.checkpoints.ours import Checkpoint


def test_a_checkpoint_names_no_other_file_to_start_from(tmp_path):
    path = tmp_path / "last.ckpt"
    kwargs = {"layers": [1, 1, 1, 1], "pretrained": True, "checkpoint_path": "elsewhere.pth"}
    hparams = {"backbone": "resnet18", "backbone_kwargs": kwargs, "temperature": 0.5}
    torch.save({"state_dict": {}, "hyper_parameters": hparams, "sslbolts_class": "sslbolts.SimCLR"}, path)
    assert Checkpoint.read(path).arguments == {
        "backbone": "resnet18",
        "backbone_kwargs": {"layers": [1, 1, 1, 1]},
        "temperature": 0.5,
    }
