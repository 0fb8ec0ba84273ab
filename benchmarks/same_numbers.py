"""Every number that ten steps of every method give, to show that a change of the code changes none of them.

    python benchmarks/same_numbers.py record before.json     # on the code as it was
    python benchmarks/same_numbers.py compare before.json    # on the code as it is: names what differs, and exits 1

Every method of the registry, and some of its other settings, trains in the small size of tests/invariants on the
packaged images: two epochs of five steps with its teacher, queue, memory and schedules, beside the linear probe, kNN,
ridge and CollapseMonitor. Then its checkpoint is judged by kNN and ridge, and its backbone exported. Losses and metrics
are recorded in full, and weights, optimizer and the callbacks' state as a hash each. Numbers are equal bit for bit on
one machine only, with one thread.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/, whose cases these are

import numpy as np
import torch
from torch import Tensor

from sslbolts import METHODS, load_backbone
from sslbolts.callbacks import CollapseMonitor, KNNMonitor, OnlineLinearProbe, Preflight
from sslbolts.evaluation import evaluate_knn, evaluate_ridge, load_encoder
from tests.helpers.nets import SmallConvNet, TinyBackbone
from tests.helpers.trainers import Recorder, quiet_trainer
from tests.invariants.cases import MethodCase, case_of

_OF_IMAGES = [name for name, method in METHODS.items() if method.learns_from == "images"]


class WithBatchNorm(SmallConvNet):
    """Four convolutions with batch norm, two of them named as its stages."""

    feature_info = ({"module": "layers.2"}, {"module": "layers.5"})


VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "SimCLR": {name: {"objective": name} for name in ("nt_logistic", "margin_triplet")},
    "MoCo": {"symmetric": {"symmetric": True, "bn_splits": 2, "queue_length": 64}, "v1": {"milestones": (0.5,)}},
    "InstanceDiscrimination": {"softmax": {"num_negatives": None}},
    "DINO": {"norms": {"batch_norm": True, "norm_last_layer": False, "warmup_teacher_temperature_epochs": 1}},
    "MeanTeacher": {"kl": {"distance": "kl"}},
    "VICReg": {name: {"scaling": name} for name in ("listing", "equation")},
    "SimSiam": {"two layers": {"projector_layers": 2, "fix_predictor_lr": False}},
    "DeepCluster": {"sobel": {"sobel": True, "network": partial(TinyBackbone, 2)}},
    "SwAV": {"three coded": {"num_coded": 1}},
    "BoWNet": {"binary": {"binary": True}},
}
"""Method -> name -> constructor arguments of a further run; "network" among them makes its backbone."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="+", default=_OF_IMAGES, metavar="METHOD", help="these methods alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    ours = {name: numbers for method in options.only for name, numbers in runs(method)}
    if options.what == "record":
        options.file.write_text(json.dumps(ours, indent=1))
        return 0
    before = json.loads(options.file.read_text())
    wanted = {name: before[name] for name in before if name.partition(" ")[0] in options.only}
    found = list(differences(wanted, json.loads(json.dumps(ours))))
    print("\n".join(found) or f"{len(ours)} runs: every number is the same.")
    return int(bool(found))


def runs(method: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The method's numbers with each of its networks and settings."""
    case = case_of(method)
    yield method, numbers_of(case)
    if "backbone" not in case.small:  # it is not bound to a network of its own
        yield f"{method} with batch norm", numbers_of(case, network=WithBatchNorm)
    for name, arguments in VARIANTS.get(method, {}).items():
        yield f"{method} {name}", numbers_of(case, **arguments)


def numbers_of(case: MethodCase, *, network: Any = None, **arguments: Any) -> dict[str, Any]:
    """What one run computes, by name."""
    network = network or partial(TinyBackbone, dropout=0.1)
    module = case.module(network, **{"warmup_epochs": 0.5, "lr_scaling": "linear", **arguments})
    settings = {"batch_size": 16, "eval_batch_size": 100, "num_workers": 0, "seed": 7, **case.data_arguments}
    images = partial(case.data, **settings)
    recorder = Recorder()
    monitors = [OnlineLinearProbe(num_classes=10), KNNMonitor(k=5, max_bank=500), CollapseMonitor(), Preflight()]
    callbacks = [recorder, *monitors]
    trainer = quiet_trainer(max_epochs=2, limit_train_batches=5, limit_val_batches=2, callbacks=callbacks)
    trainer.fit(module, datamodule=images(views=case.views))
    print(f"{case.method.__name__} {arguments or ''}", file=sys.stderr, flush=True)
    checkpoint = trainer._checkpoint_connector.dump_checkpoint()
    numbers: dict[str, Any] = {
        "losses": [loss.item() for loss in recorder.losses],
        "gradients": [hashed(gradients) for gradients in recorder.gradients],
        "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        "weights": {name: hashed(value) for name, value in checkpoint["state_dict"].items()},
        "optimizer": hashed(checkpoint["optimizer_states"]),
        "schedules": hashed(checkpoint["lr_schedulers"]),
        "callbacks": sorted(hashed(state) for state in checkpoint["callbacks"].values()),
    }
    encoder = load_encoder(module.eval(), image_size=32, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        for evaluate in (evaluate_knn, evaluate_ridge):
            result = evaluate(encoder, images(views=case.views), cache=folder)
            numbers[evaluate.__name__] = {name: float(value) for name, value in result.metrics.items()}
        if isinstance(module.hparams.get("backbone"), str):
            trainer.save_checkpoint(file := Path(folder) / "run.ckpt")
            with torch.no_grad():
                features = load_backbone(file)(torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32))
            numbers["exported"] = hashed(features)
    return numbers


def hashed(value: Any) -> str:
    """A hash of nested plain values, of tensors by type, shape and every bit."""
    digest = hashlib.sha256()

    def take(value: Any) -> None:
        if isinstance(value, Tensor):
            array = value.detach().cpu().contiguous()
            digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
            digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b"")
        elif isinstance(value, np.ndarray):
            digest.update(value.tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                take(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                take(item)
        else:
            digest.update(repr(value).encode())

    take(value)
    return digest.hexdigest()[:16]


def differences(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Lines that name each number that is another, missing or new."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            place = f"{where} / {name}" if where else name
            if name not in before or name not in after:
                yield f"{place}: only {'after' if name in after else 'before'}"
            else:
                yield from differences(before[name], after[name], place)
    elif before != after and not (before != before and after != after):
        yield f"{where}: {before} before, {after} after"


if __name__ == "__main__":
    sys.exit(main())
