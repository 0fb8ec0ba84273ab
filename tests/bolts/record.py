"""What lightning-bolts 0.7.0 itself does, written down; run by `make test-bolts` in an environment that has it.

    python tests/bolts/record.py FOLDER

writes a checkpoint of each of its methods after one step of training with the features of fixed images, and
`recorded.npz`: names and shapes of the tensors, features with weights of a formula, and its LARS, scheduler and NT-Xent
over 20 steps. The last file is kept beside this one, for the tests that run everywhere.
"""

import argparse
import importlib.metadata
import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    import numpy as np

    recorded: dict[str, Any] = {**optimizer_and_schedule(), **contrastive_loss()}
    for name in ("simclr", "byol", "simsiam", "swav", "moco"):
        recorded.update(checkpoint(name, folder))
        print(f"{name}: trained, saved", flush=True)
    packages = ("lightning-bolts", "pytorch-lightning", "torch", "torchvision", "numpy")
    versions = {package: importlib.metadata.version(package) for package in packages}
    recorded["versions"] = json.dumps({"python": sys.version.split()[0], **versions})
    np.savez_compressed(folder / "recorded.npz", **recorded)
    print(f"{folder / 'recorded.npz'}: {(folder / 'recorded.npz').stat().st_size / 1000:.0f} kB")


def checkpoint(name: str, folder: Path) -> dict[str, Any]:
    """Train a method for one step on noise, save it, and tell what its networks give for fixed images."""
    import pytorch_lightning as pl
    import torch
    from formula import IMAGES, noise, weights

    pl.seed_everything(0)
    module, networks = method(name)
    images = torch.rand(8, 3, 32, 32)
    views = {"moco": 2, "swav": 4}.get(name, 3)
    batch = [([images[:4].clone() + i / 10 for i in range(views)], torch.arange(4))] * 2

    class Noise(pl.LightningDataModule):
        name = "cifar10"  # which its MoCo asks for

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(batch, batch_size=None)

    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = pl.Trainer(max_steps=1, accelerator="cpu", **dict.fromkeys(quiet, False))
    trainer.fit(module, Noise())
    trainer.save_checkpoint(folder / f"{name}.ckpt")
    module.eval()
    query = noise("images", IMAGES)
    with torch.no_grad():
        fresh = {part: network(query) for part, network in networks(module).items()}
        torch.save({"images": query, **fresh}, folder / f"{name}.features.pt")
        shapes = {key: list(tensor.shape) for key, tensor in module.state_dict().items()}
        module.load_state_dict(weights(shapes))
        by_formula = {part: network(query) for part, network in networks(module).items()}
    hparams = {key: value for key, value in dict(module.hparams).items() if isinstance(value, bool | int | float | str)}
    told = {f"features/{name}/{part}": features[:, :64].numpy() for part, features in by_formula.items()}
    return {**told, f"layout/{name}": json.dumps({"shapes": shapes, "hparams": hparams})}


def method(name: str) -> tuple[Any, Any]:
    """A method of lightning-bolts with a ResNet-18, and its networks from images to features."""
    from pl_bolts.models import self_supervised as bolts
    from torch import nn

    shared = {"gpus": 0, "num_samples": 8, "batch_size": 4, "dataset": "cifar10", "arch": "resnet18"}
    small = {"first_conv": False, "maxpool1": False, "warmup_epochs": 1, "max_epochs": 2}
    arms = {"base_encoder": "resnet18", "encoder_out_dim": 512, "projector_hidden_dim": 32, "projector_out_dim": 16}
    if name == "simclr":
        module = bolts.SimCLR(**shared, **small, hidden_mlp=512, feat_dim=16, optimizer="lars", exclude_bn_bias=True)
        return module, lambda m: {"student": m}
    if name == "swav":
        module = bolts.SwAV(
            **shared, **small, hidden_mlp=32, feat_dim=16, num_prototypes=12, num_crops=(2, 1), queue_length=0
        )
        return module, lambda m: {"student": m}
    if name == "moco":
        module = bolts.Moco_v2(base_encoder="resnet18", emb_dim=16, num_negatives=8, batch_size=4)

        def without_head(network: Any) -> Any:
            bare = nn.Sequential(*list(network.children())[:-1], nn.Flatten())
            return bare.eval()

        return module, lambda m: {"student": without_head(m.encoder_q), "teacher": without_head(m.encoder_k)}
    cls = {"byol": bolts.BYOL, "simsiam": bolts.SimSiam}[name]
    extra = {"predictor_hidden_dim": 8} if name == "simsiam" else {}
    module = cls(learning_rate=0.05, warmup_epochs=2, max_epochs=4, **arms, **extra)
    return module, lambda m: {"student": m.online_network.encode, "teacher": m.target_network.encode}


def optimizer_and_schedule() -> dict[str, Any]:
    """Two parameters under its LARS and its scheduler, driven by gradients of a formula."""
    import torch
    from formula import noise
    from pl_bolts.optimizers.lars import LARS
    from pl_bolts.optimizers.lr_scheduler import LinearWarmupCosineAnnealingLR

    weight, bias = torch.nn.Parameter(noise("weight", (4, 3))), torch.nn.Parameter(noise("bias", (4,)))
    groups = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = LARS(groups, lr=0.4, momentum=0.9, weight_decay=1e-6, trust_coefficient=0.02)
    schedule = LinearWarmupCosineAnnealingLR(optimizer, 5, STEPS, warmup_start_lr=0.04, eta_min=0.008)
    told: dict[str, list[Any]] = {"lars/weight": [], "lars/bias": [], "schedule": []}
    for step in range(STEPS):
        weight.grad, bias.grad = noise(f"weight {step}", (4, 3)), noise(f"bias {step}", (4,))
        told["schedule"].append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        told["lars/weight"].append(weight.detach().clone().numpy())
        told["lars/bias"].append(bias.detach().clone().numpy())
    return told


def contrastive_loss() -> dict[str, Any]:
    """Its NT-Xent and the gradient before normalization, of 20 batches."""
    from formula import noise
    from pl_bolts.models.self_supervised import SimCLR
    from torch.nn.functional import normalize

    losses, gradients = [], []
    for step in range(STEPS):
        z1, z2 = (noise(f"z{view} {step}", (6, 8)).double().requires_grad_() for view in (1, 2))
        loss = SimCLR.nt_xent_loss(None, normalize(z1, dim=1), normalize(z2, dim=1), 0.1 + 0.02 * step)
        loss.backward()
        losses.append(loss.item())
        gradients.append(z1.grad.numpy())
    return {"nt_xent/loss": losses, "nt_xent/gradient": gradients}


if __name__ == "__main__":
    main()
