"""Folders of runs, made by hand, so that what a page must say is known."""

import json
from pathlib import Path

from PIL import Image

from sslbolts.evaluation.result import Result

KNN, RIDGE = "knn/k20_t0.07", "ridge/top1"


def make_run(folder: Path, *, knn: tuple[float, float] = (0.30, 0.45), lr: float = 0.1, model: str = "SimCLR") -> Path:
    """A run of two epochs of ten steps, with everything that a folder can hold."""
    (folder / "pictures").mkdir(parents=True)
    rows = ["epoch,step,train/loss,knn/k20_t0.07,knn/k20_t0.07/raw_pixels,knn/k20_t0.07/untrained,ridge/top1,rankme"]
    rows += [f"{step // 10},{step},{5 - step / 10},,,,," for step in range(20)]
    rows += [f"0,9,,{knn[0]},0.383,0.31,0.4,12.5", f"1,19,,{knn[1]},0.383,0.31,0.38,14.5"]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    (folder / "config.yaml").write_text(
        f"seed_everything: 0\ntrainer: {{max_epochs: 2, logger: {{api_key: sesame123}}}}\n"
        f"model: {{class_path: sslbolts.{model}, init_args: {{temperature: 0.2, optimizer: "
        f"{{class_path: torch.optim.SGD, init_args: {{lr: {lr}}}}}}}}}\n"
        "data: {class_path: sslbolts.data.CIFAR10MiniDataModule, init_args: {batch_size: 8}}\n"
    )
    record = {"command": f"sslbolts fit --model {model}", "model": model, "data": "CIFAR10MiniDataModule"}
    record |= {"seconds": 189.4, "steps": 20, "versions": {"torch": "2.99.1"}, "machine": {"processor": "Abacus 3"}}
    record |= {"commits": {"sslbolts": "0123abcd"}, "devices": "1 x cpu"}
    (folder / "run.json").write_text(json.dumps(record))
    Result(
        "linear", "last.ckpt", "CIFAR10Mini", {"top1": 0.512}, {"settings": "dino"}, [{"lr": 0.1, "top1": 0.5}]
    ).save(folder / "evaluation" / "linear-CIFAR10Mini.json")
    for name in ("pictures/neighbors-epoch0001", "pictures/neighbors-epoch0002", "pictures/embedding-epoch0002"):
        Image.new("RGB", (130, 65), "white").save(folder / f"{name}.png")
    Image.new("RGB", (40, 40), "white").save(folder / "holiday.png")
    return folder
