"""A process that pushes to the stand-in and loads from it, as the Hub's client reads its address once, on import.

Usage: ``python -m tests.hub.driver FOLDER``; the last line of its output is what happened, as JSON.
"""

import contextlib
import io
import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.hub.stand_in import TOKEN, StandIn

FORM = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
MARKUP = "<img src=x onerror=alert(1)> | **bold** `code`"
SECRET = "hf_0123456789abcdefghij"


def main(folder: Path) -> dict[str, object]:
    hub = StandIn()
    os.environ |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        os.environ.pop(name, None)
    found: dict[str, object] = {"host": socket.gethostname()}

    import timm
    import torch

    from sslbolts import SimCLR, load_backbone
    from sslbolts.cli import main as command
    from sslbolts.data import CIFAR10MiniDataModule
    from sslbolts.evaluation import load_encoder
    from sslbolts.export import backbone_spec
    from tests.helpers.few_images import use_few_images
    from tests.helpers.trainers import quiet_trainer

    use_few_images(pytest.MonkeyPatch(), train=100, test=50)

    def said(*argv: str) -> str:
        """Exit code, and what was printed, errors last."""
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = command(argv)
        lines = [line for line in error.getvalue().splitlines() if line.startswith("error")]
        return f"{code} {out.getvalue()}{' '.join(lines)}"

    torch.manual_seed(0)
    run = folder / "runs"
    methods = {
        "net": SimCLR("resnet18", backbone_kwargs=FORM, hidden_dim=8, warmup_epochs=0),
        "small": SimCLR("resnet18", backbone_kwargs=FORM, stem="cifar", hidden_dim=8, warmup_epochs=0),
        "vit": SimCLR("vit_tiny_patch16_224", backbone_kwargs={"img_size": 32, "patch_size": 8, "depth": 1}),
    }
    for name, method in methods.items():
        if name == "vit":  # an exported file alone
            from sslbolts.export import export_backbone

            export_backbone(method, run / "vit.safetensors")
            continue
        trainer = quiet_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
        trainer.fit(method, CIFAR10MiniDataModule(batch_size=8, num_workers=0))
        trainer.save_checkpoint(run / f"{name}.ckpt")
    record = {
        "command": f"sslbolts fit --model SimCLR --data.root /home/jane/photos --logger.api_key={SECRET}",
        "working_directory": "/home/jane/work",
        "model": "SimCLR",
        "data": "CIFAR10MiniDataModule",
        "epochs": 1,
        "devices": MARKUP,
        "commits": {"sslbolts": "c" * 40},
        "machine": {"system": f"Linux-{socket.gethostname()}", "processor": "a processor"},
    }
    (run / "run.json").write_text(json.dumps(record))
    (run / "config.yaml").write_text(
        "model: {class_path: sslbolts.SimCLR, init_args: {temperature: 0.25}}\n"
        "data: {class_path: sslbolts.data.ImageFolderDataModule, init_args: {root: photos, batch_size: 8}}\n"
        f"trainer: {{max_epochs: 1, default_root_dir: /mnt/{socket.gethostname()}/x}}\n"
    )
    (run / "metrics.csv").write_text("epoch,step,knn/k20_t0.07\n0,1,0.415\n")
    net = str(run / "net.ckpt")

    found["no token"] = said("push", net, "jane/net")
    found["written"] = said("push", net, "jane/net", "--only_write", str(folder / "shown"))
    found["requests before"] = list(hub.requests)
    os.environ["HF_TOKEN"] = TOKEN
    found["pushed"] = said("push", net, "jane/net", "--license=cc-by-4.0", "--private")
    found["private"] = hub.private["jane/net"]
    hub.repositories["jane/net"]["README.md"] += b"my own words\n"
    found["again"] = said("push", net, "jane/net")
    found["kept"] = hub.repositories["jane/net"]["README.md"].decode()
    said("push", net, "jane/net", "--new_card", "--license=cc-by-4.0")
    found["files"] = sorted(hub.repositories["jane/net"])
    found["card"] = hub.repositories["jane/net"]["README.md"].decode()
    found["config"] = json.loads(hub.repositories["jane/net"]["config.json"])
    found["small"] = said("push", str(run / "small.ckpt"), "jane/small")
    found["vit"] = said("push", str(run / "vit.safetensors"), "jane/vit")
    found["forbidden"] = said("push", net, "forbidden/net")

    images = torch.rand(2, 3, 32, 32)
    errors = {}
    with torch.no_grad():
        for name, method in methods.items():
            expected = method.eval()(images)
            loaders = {"ours": lambda name=name: load_backbone(f"hf://jane/{name}")}
            if name != "small":
                loaders["timm"] = lambda name=name: timm.create_model(f"hf-hub:jane/{name}", pretrained=True).eval()
            for kind, load in loaders.items():
                errors[f"{name}, {kind}"] = float((load()(images) - expected).abs().max())
        # As timm itself pushes: no metadata of ours beside the weights.
        from safetensors.torch import load, save

        bare = dict(hub.repositories["jane/net"])
        hub.repositories["jane/bare"] = bare | {"model.safetensors": save(load(bare["model.safetensors"]))}
        errors["bare, ours"] = float(
            (load_backbone("hf://jane/bare@main")(images) - methods["net"](images)).abs().max()
        )
    found["errors"] = errors
    found["spec"] = backbone_spec("hf://jane/bare")
    config = json.loads(bare["config.json"])
    for name, change in {
        "opens": {"model_args": {"act_layer": "layers/mine"}},
        "unknown": {"architecture": "resnet_of_nobody"},
        "no": {"architecture": None, "pretrained_cfg": []},
    }.items():
        stranger = {"config.json": json.dumps(config | change).encode()}
        hub.repositories[f"jane/{name}"] = hub.repositories["jane/bare"] | stranger
        found[f"stranger {name}"] = said("export", f"hf://jane/{name}", str(folder / "x.safetensors"))
    encoder = load_encoder("hf://jane/net", device="cpu")
    found["preprocessing"] = [encoder.preprocessing.image_size, encoder.source]
    os.chdir(folder)
    found["evaluated"] = said("evaluate", "ridge", "hf://jane/net", "--cache=none", "--device=cpu")
    found["evaluation"] = sorted(str(path) for path in Path("runs").rglob("evaluation/*.json"))
    found["exported"] = said("export", "hf://jane/net", str(folder / "out.safetensors"))
    found["resumed"] = said("fit", "--model=SimCLR", "--model.backbone=resnet18", "--ckpt_path=hf://jane/net")
    found["missing"] = said("export", "hf://jane/nothing", str(folder / "x.safetensors"))
    found["revision"] = said("export", "hf://jane/net@v9", str(folder / "x.safetensors"))
    found["badly named"] = said("export", "hf://net", str(folder / "x.safetensors"))
    hub.repositories["jane/empty"] = {"README.md": b"nothing"}
    found["empty"] = said("export", "hf://jane/empty", str(folder / "x.safetensors"))
    hub.close()
    pytest.MonkeyPatch().setattr(time, "sleep", lambda seconds: None)  # the client's, between its tries
    found["push without a network"] = said("push", net, "jane/net")
    found["load without a network"] = said("export", "hf://jane/other", str(folder / "x.safetensors"))
    found["cached without a network"] = said("export", "hf://jane/net", str(folder / "y.safetensors"))
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
