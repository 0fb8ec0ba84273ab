"""How long every protocol takes on features that are there already, and how far it agrees with scikit-learn.

    python benchmarks/protocols.py [--classes 10] [--only knn ridge] [--peers] [--write]

50,000 training and 10,000 test rows of 512 features: overlapping clusters, one per class, as ResNet-18 gives for
CIFAR-10. A protocol is timed from features in memory to its result, all choosing of hyper-parameters included; beside
the wall clock stands the processor time of all threads, which waiting for a busy machine does not lengthen. With
--peers, scikit-learn's classifiers are trained on the same features, and their accuracy stands beside ours. With
--write the table goes to benchmarks/results/protocols.md.
"""

import argparse
import datetime
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sslbolts.evaluation.few_label import few_label_rows, logistic_on_features
from sslbolts.evaluation.nearest import knn_on_features, ridge_on_features
from sslbolts.evaluation.probes.on_features import probe_on_features
from sslbolts.evaluation.probes.recipes import probe_recipe
from sslbolts.evaluation.splits import Splits

RESULTS = Path(__file__).parent / "results" / "protocols.md"


def clusters(classes: int, width: int = 512, train: int = 50_000, test: int = 10_000) -> Splits:
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
            "recipe features: 5 learning rates at once, 100 epochs, then the best again",
            lambda: probe_on_features(splits, probe_recipe("features"), device="cpu")[0],
        ),
        "linear, 1 lr": (
            "recipe features, lr 0.1, 100 epochs",
            lambda: probe_on_features(splits, probe_recipe("features", lr=0.1), device="cpu")[0],
        ),
        "mlp": (
            "recipe amdim: 1,024 hidden, 10 epochs",
            lambda: probe_on_features(
                splits, probe_recipe("amdim", epochs=10), hidden_dim=1024, dropout=0.2, device="cpu"
            )[0],
        ),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--note", default="", help="a sentence on the machine")
    arguments = parser.parse_args()
    splits = clusters(arguments.classes)
    others = peers(splits) if arguments.peers else {}
    found: dict[str, float] = {}
    lines = ["| protocol | what | wall clock | processor | top-1 | scikit-learn |", "|---|---|---|---|---|---|"]
    for name, (what, run) in protocols(splits).items():
        if arguments.only and name not in arguments.only:
            continue
        wall, processor = time.perf_counter(), time.process_time()
        top1 = run()["top1"]
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        beside = ""
        if name in others:
            if others[name] not in found:
                found[others[name]] = others[name]()
            beside = f"{100 * found[others[name]]:.2f} %"
        lines.append(f"| {name} | {what} | {wall:.1f} s | {processor:.1f} s | {100 * top1:.2f} % | {beside} |")
        print(lines[-1], flush=True)
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    head = [
        "# How long the protocols take",
        "",
        f"{os.cpu_count()} cores ({cpu}), {torch.get_num_threads()} threads, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {datetime.date.today():%Y-%m-%d}. {arguments.note}".rstrip(),
        "",
        f"    python benchmarks/protocols.py --classes {arguments.classes}{' --peers' if arguments.peers else ''}",
        "",
        f"50,000 training and 10,000 test rows of 512 features in {arguments.classes} overlapping clusters, in memory; "
        "times include",
        "all choosing of hyper-parameters.",
        "",
    ]
    if arguments.write:
        RESULTS.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
        print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
