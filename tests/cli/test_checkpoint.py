"""What the command line takes from a checkpoint."""

import torch

from sslbolts.cli.run.checkpoint import CheckpointValues


def test_a_checkpoint_names_no_other_file_to_start_from(tmp_path):
    path = tmp_path / "last.ckpt"
    kwargs = {"layers": [1, 1, 1, 1], "pretrained": True, "checkpoint_path": "elsewhere.pth"}
    hparams = {"backbone": "resnet18", "backbone_kwargs": kwargs, "temperature": 0.5}
    torch.save({"state_dict": {}, "hyper_parameters": hparams, "sslbolts_class": "sslbolts.SimCLR"}, path)
    values = CheckpointValues.of(str(path))
    assert values.arguments == {
        "backbone": "resnet18",
        "backbone_kwargs": {"layers": [1, 1, 1, 1]},
        "temperature": 0.5,
    }
