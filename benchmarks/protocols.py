"""How long every protocol takes from what it learns from to its result, and how far it agrees with scikit-learn.

    python benchmarks/protocols.py [--classes 10] [--only knn ridge] [--peers] [--write] [--rows 50000]

50,000 training and 10,000 test rows of 512 features: overlapping clusters, one per class, as ResNet-18 gives for
CIFAR-10. A protocol is timed from features in memory to its result, all choosing of hyper-parameters included; the
layer probe, which has none, from the 5,000 packaged images and an untrained ResNet-18. Beside the wall clock stands the
processor time of all threads, which waiting for a busy machine does not lengthen. With --peers, scikit-learn's
classifiers are trained on the same features, and their accuracy stands beside ours.

With --write the measured rows go to benchmarks/results/protocols.json, each with its date, command and machine, and the
page protocols.md is made of all rows that are there; rows that are not measured again, and the notes below the table,
are kept. Fewer --rows are for trying it out, and are not written.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sslbolts.data import CIFAR10MiniDataModule
from sslbolts.evaluation import load_encoder
from sslbolts.evaluation.few_label import few_label_rows, logistic_on_features
from sslbolts.evaluation.layers.run import evaluate_layers
from sslbolts.evaluation.nearest import knn_on_features, ridge_on_features
from sslbolts.evaluation.probes.on_features import probe_on_features
from sslbolts.evaluation.probes.settings import probe_settings
from sslbolts.evaluation.splits import Splits
from sslbolts.evaluation.transfer.linear import score_transfer

RESULTS = Path(__file__).parent / "results" / "protocols"
ROWS, TEST_ROWS = 50_000, 10_000


def clusters(classes: int, width: int = 512, train: int = ROWS, test: int = TEST_ROWS) -> Splits:
    generator = torch.Generator().manual_seed(0)
    centers = 0.1 * torch.randn(classes, width, generator=generator)
    spread = torch.linspace(2.0, 0.3, width)  # features differ in scale
    y = torch.arange(train + test) % classes
    x = centers[y] * spread + spread * torch.randn(train + test, width, generator=generator) + 0.5
    return Splits(x[:train], y[:train], x[train:], y[train:], classes, torch.arange(train), {})


def protocols(splits: Splits) -> dict[str, tuple[str, Callable[[], dict[str, float]]]]:
    """What is timed: name -> (what it does, how)."""
    few = few_label_rows(splits.y, fraction=0.01)
    tenth = few_label_rows(splits.y, fraction=0.1)

    def of(rows: torch.Tensor) -> Splits:
        mean, std = splits.x.mean(0), splits.x.std(0)
        return Splits(
            (splits.x[rows] - mean) / std, splits.y[rows], (splits.test_x - mean) / std, splits.test_y,
            splits.num_classes, rows, {},
        )  # fmt: skip

    def transfer() -> dict[str, float]:
        part = len(splits.x) // 10
        train, val = (splits.x[part:], splits.y[part:]), (splits.x[:part], splits.y[:part])
        test = (splits.test_x, splits.test_y)
        return {"top1": score_transfer(train, val, test, metric="top1", num_classes=splits.num_classes).test}

    def layers() -> dict[str, float]:
        per_class = None if len(splits.x) >= 5000 else max(2, len(splits.x) // 10)
        torch.manual_seed(0)
        encoder = load_encoder("timm/resnet18", pretrained=False, device="cpu")
        data = CIFAR10MiniDataModule(labels_per_class=per_class, num_workers=0)
        return evaluate_layers(encoder, data, progress=False).metrics

    return {
        "knn": (
            "k = 20, temperature 0.07, cosine",
            lambda: knn_on_features(splits, ks=[20], temperatures=[0.07], metrics=["cosine"], device="cpu")[0],
        ),
        "knn sweep": (
            "7 k, 5 temperatures, cosine and Euclidean, chosen on 2,000 training images",
            lambda: knn_on_features(splits, device="cpu")[0],
        ),
        "ridge": ("15 penalties, leave-one-out", lambda: ridge_on_features(splits, device="cpu")[0]),
        "few-label 1 %": (
            "logistic regression, 6 penalties, 5 folds", lambda: logistic_on_features(of(few), device="cpu")[0]
        ),
        "few-label 10 %": (
            "logistic regression, 6 penalties, 5 folds", lambda: logistic_on_features(of(tenth), device="cpu")[0]
        ),
        "linear": (
            "settings features: 5 learning rates at once, 100 epochs, then the best again",
            lambda: probe_on_features(splits, probe_settings("features"), device="cpu")[0],
        ),
        "linear, 1 lr": (
            "settings features, lr 0.1, 100 epochs",
            lambda: probe_on_features(splits, probe_settings("features", lr=0.1), device="cpu")[0],
        ),
        "mlp": (
            "settings amdim: 1,024 hidden, 10 epochs",
            lambda: probe_on_features(
                splits, probe_settings("amdim", epochs=10), hidden_dim=1024, dropout=0.2, device="cpu"
            )[0],
        ),
        "transfer": ("logistic regression, 45 penalties chosen on a tenth of the rows, then all again", transfer),
        "layers": ("5 blocks of ResNet-18 at 5 learning rates, 28 epochs, on 5,000 packaged images", layers),
    }  # fmt: skip


def peers(splits: Splits) -> dict[str, Callable[[], float]]:
    """Accuracy of scikit-learn's classifiers on the same features."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier

    x, y, test_x, test_y = (t.numpy() for t in (splits.x, splits.y, splits.test_x, splits.test_y))
    mean, std = x.mean(0), x.std(0)
    penalty = ridge_on_features(splits, device="cpu")[1]["penalty"]

    def knn() -> float:
        found = KNeighborsClassifier(20, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07), algorithm="brute")
        return found.fit(x, y).score(test_x, test_y)

    def ridge() -> float:
        return RidgeClassifier(alpha=penalty * len(x)).fit((x - mean) / std, y).score((test_x - mean) / std, test_y)

    def logistic() -> float:
        return LogisticRegression(max_iter=1000).fit((x - mean) / std, y).score((test_x - mean) / std, test_y)

    return {"knn": knn, "ridge": ridge, "linear": logistic, "linear, 1 lr": logistic}


def machine() -> str:
    """Where this runs, in words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor())
    return (
        f"{os.cpu_count()} cores ({cpu}), {torch.get_num_threads()} threads, torch {torch.__version__}, Python "
        f"{platform.python_version()}"
    )


def page(rows: dict[str, dict[str, Any]], notes: str) -> str:
    """All measured rows as Markdown, with where and how each was measured."""
    lines = [
        "# How long the protocols take",
        "",
        f"{ROWS:,} training and {TEST_ROWS:,} test rows of 512 features in overlapping clusters, in memory; the layer",
        "probe begins at images. Times include all choosing of hyper-parameters.",
        "",
        "| protocol | what | classes | wall clock | processor | top-1 | scikit-learn | measured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    runs: list[tuple[str, str]] = []
    for name, row in rows.items():
        run = (row["command"], f"{row['date']}, {row['machine']}")
        runs += [] if run in runs else [run]
        beside = "" if row["peer"] is None else f"{100 * row['peer']:.2f} %"
        lines.append(
            f"| {name} | {row['what']} | {row['classes']} | {row['wall']:.1f} s | {row['processor']:.1f} s | "
            f"{100 * row['top1']:.2f} % | {beside} | {runs.index(run) + 1} |"
        )
    for number, (command, where) in enumerate(runs, start=1):
        lines += ["", f"{number}. {where}:", "", f"       {command}"]
    return "\n".join(lines) + f"\n\n## Notes\n{notes}"


def write(measured: dict[str, dict[str, Any]], order: list[str], results: Path = RESULTS) -> None:
    """Put rows among those that are there, and make the page anew; its notes stay.

    Args:
        measured: rows by protocol.
        order: all protocols, as the table has them.
        results: the two files without their endings.
    """
    file, text = results.with_suffix(".json"), results.with_suffix(".md")
    rows = json.loads(file.read_text()) if file.exists() else {}
    rows |= measured
    rows = {name: rows[name] for name in order if name in rows}
    _, _, notes = (text.read_text() if text.exists() else "").partition("\n## Notes\n")
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    text.write_text(page(rows, notes), encoding="utf-8")
    print(f"wrote {file} and {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS, help="training rows; test rows are a fifth")
    arguments = parser.parse_args()
    if arguments.write and arguments.rows != ROWS:
        parser.error(f"--rows={arguments.rows}: only measurements of {ROWS} rows are written.")
    splits = clusters(arguments.classes, train=arguments.rows, test=arguments.rows // 5)
    every = protocols(splits)
    unknown = [name for name in arguments.only or () if name not in every]
    if unknown:
        parser.error(f'--only: there is no "{unknown[0]}"; there are {", ".join(every)}.')
    others = peers(splits) if arguments.peers else {}
    found: dict[Callable[[], float], float] = {}
    measured: dict[str, dict[str, Any]] = {}
    for name in arguments.only or every:
        what, run = every[name]
        wall, processor = time.perf_counter(), time.process_time()
        top1 = run()["top1"]
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        if name in others and others[name] not in found:
            found[others[name]] = others[name]()
        peer = found[others[name]] if name in others else None
        measured[name] = {
            "what": what,
            "classes": arguments.classes,
            "wall": round(wall, 2),
            "processor": round(processor, 2),
            "top1": round(top1, 6),
            "peer": None if peer is None else round(float(peer), 6),
            "date": f"{datetime.date.today():%Y-%m-%d}",
            "machine": machine(),
            "command": shlex.join(["python", "benchmarks/protocols.py", *sys.argv[1:]]),
        }
        print(f"{name}: {wall:.1f} s, {processor:.1f} s of processor, top-1 {100 * top1:.2f} %", flush=True)
        if peer is not None:
            print(f"  scikit-learn: {100 * peer:.2f} %", flush=True)
    if arguments.write:
        write(measured, list(every))


if __name__ == "__main__":
    main()
