"""Every method at one equal budget of CPU time on the packaged images: a table and a plot.

    python benchmarks/methods_mini.py [--seconds 180] [--jobs 2] [--seed 0] [--methods SimCLR BYOL ...]

Each method runs as its configs/<method>_cifar10mini.yaml says, in a process of its own with one thread, in float32 and
without worker processes, so that the processor time of that process is all it used. Its first epoch, in a run that is
thrown away, tells how many epochs (with their whole schedule) the budget pays for. kNN and ridge are those of the last
epoch on the 1,000 test images; what they cost is not part of the budget. Checkpoints go to runs/methods_mini/, where
BoWNet and Distillation, which come last, find their teachers: what those cost is not counted either. Writes
methods_mini.json, .md and .png to benchmarks/results/; results of methods that are not run again, and the notes below
the table, are kept.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
import yaml

from sslbolts import METHODS
from sslbolts._lightning import Callback
from sslbolts.cli import main as sslbolts
from sslbolts.pictures.style import COLORS, INK, MUTED, new_figure, save, tidy

_OF_IMAGES = [name for name, method in METHODS.items() if method.learns_from == "images"]

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "methods_mini"
FOLDER = ROOT / "runs" / "methods_mini"
KNN, RIDGE = "knn/k20_t0.07", "ridge/top1"
BASELINES = ("raw_pixels", "untrained")
TEACHERS = {"BoWNet": "SimCLR", "Distillation": "SimCLR"}


class CPUTime(Callback):
    """Processor time of training, without validation, and what the Trainer knows at the end.

    Args:
        checkpoint: where the end of the run is kept.
    """

    last: "CPUTime"

    def __init__(self, checkpoint: str) -> None:
        CPUTime.last = self
        self.checkpoint = checkpoint
        self.used = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.since = time.process_time()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.used += time.process_time() - self.since

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.since = time.process_time()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.used += time.process_time() - self.since
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.parameters = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        trainer.save_checkpoint(self.checkpoint)


def file_of(name: str) -> str:
    return METHODS[name].module.rpartition(".")[2]


def checkpoint_of(name: str) -> str:
    """Below FOLDER, where methods run."""
    return f"runs/{file_of(name)}_cifar10mini/last.ckpt"


def configuration(name: str, epochs: int, seed: int) -> dict[str, Any]:
    """The method's YAML with another length, and with nothing but the final kNN and ridge to watch it."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{file_of(name)}_cifar10mini.yaml").read_text())
    if name in TEACHERS:
        config["model"]["init_args"]["teacher"] = checkpoint_of(TEACHERS[name])
    starts = [kept for kept in config["trainer"]["callbacks"] if kept["class_path"].endswith(".WhitenedStem")]
    config["seed_everything"] = seed
    config["data"]["init_args"]["num_workers"] = 0
    config["trainer"] |= {
        "max_epochs": epochs,
        "accelerator": "cpu",
        "precision": "32-true",
        "logger": False,
        "default_root_dir": str(Path(checkpoint_of(name)).parent),
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": 1.0 if epochs > 1 else 0,
        "check_val_every_n_epoch": epochs,
        "callbacks": [
            *starts,  # part of how the network begins; all others only look on
            {
                "class_path": "methods_mini.CPUTime",
                "init_args": {"checkpoint": checkpoint_of(name)},
            },
        ],
    }
    if epochs > 1:
        config["trainer"]["callbacks"].append(
            {"class_path": "sslbolts.callbacks.KNNMonitor", "init_args": {"k": [20], "every_n_epochs": 1}}
        )
    return config


def train(name: str, epochs: int, seed: int) -> CPUTime:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(configuration(name, epochs, seed)))
        if sslbolts(["fit", f"--config={path}"]) != 0:
            raise SystemExit(f"{name} did not run")
    import methods_mini  # as the command line imported it

    done: CPUTime = methods_mini.CPUTime.last
    return done


def measure(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """One method, in this process."""
    torch.set_num_threads(1)
    per_epoch = train(name, 1, seed).used
    done = train(name, epochs := max(2, round(seconds / per_epoch)), seed)
    return {
        "knn": done.metrics[KNN],
        "ridge": done.metrics[RIDGE],
        **{f"knn/{which}": done.metrics[f"{KNN}/{which}"] for which in BASELINES},
        **{f"ridge/{which}": done.metrics[f"{RIDGE}/{which}"] for which in BASELINES},
        "loss": done.metrics["train/loss"],
        "epochs": epochs,
        "cpu_seconds": done.used,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "parameters": done.parameters,
    }


def in_a_process(name: str, seconds: float, seed: int) -> dict[str, Any]:
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--one",
        name,
        "--seconds",
        str(seconds),
        "--seed",
        str(seed),
    ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    print(
        f"{name}: kNN-20 {100 * result['knn']:.1f}, ridge {100 * result['ridge']:.1f}, {result['epochs']} epochs",
        flush=True,
    )
    return result


HEAD = """\
# Every method at one equal budget on the packaged images

    python benchmarks/methods_mini.py --seconds {seconds:g} --jobs 2

The configurations are `configs/<method>_cifar10mini.yaml`, the seed is 0; the notes have commits and hardware.
"""

COLUMNS = (
    "method",
    "family",
    "kNN-20 (%)",
    "ridge (%)",
    "untrained kNN / ridge (%)",
    "epochs",
    "CPU seconds",
    "peak memory (MiB)",
    "trained parameters (M)",
)


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown, best kNN first, raw pixels last."""
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name, r in sorted(results.items(), key=lambda item: -item[1]["knn"]):
        row = (
            name,
            METHODS[name].family.replace("_", "-"),
            f"{100 * r['knn']:.1f}",
            f"{100 * r['ridge']:.1f}",
            f"{100 * r['knn/untrained']:.1f} / {100 * r['ridge/untrained']:.1f}",
            str(r["epochs"]),
            f"{r['cpu_seconds']:.0f}",
            f"{r['peak_mib']:.0f}",
            f"{r['parameters'] / 1e6:.2f}",
        )
        rows.append(row)
    some = next(iter(results.values()))
    raw = ("raw pixels", "", f"{100 * some['knn/raw_pixels']:.1f}", f"{100 * some['ridge/raw_pixels']:.1f}")
    rows.append((*raw, *[""] * (len(COLUMNS) - len(raw))))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def plot(results: dict[str, dict[str, Any]], seconds: float, path: Path) -> None:
    """kNN and ridge of every method as two dots on a line, best kNN on top."""
    ordered = sorted(results.items(), key=lambda item: item[1]["knn"])
    figure = new_figure(8.5, 1.4 + 0.32 * len(ordered))
    axes = figure.subplots()
    rows = range(len(ordered))
    for label, key, color, marker in (("kNN-20", "knn", COLORS[0], "o"), ("ridge", "ridge", COLORS[1], "D")):
        axes.scatter([100 * r[key] for _, r in ordered], rows, color=color, marker=marker, label=label, zorder=3)
        level = 100 * next(iter(results.values()))[f"{key}/raw_pixels"]  # as in the table
        axes.axvline(level, color=color, linestyle=(0, (5, 3)), linewidth=1.2, label=f"{label} of raw pixels")
    axes.set_yticks(rows, [name for name, _ in ordered], color=INK)
    title = f"{seconds:.0f} s of one core per method, 5,000 CIFAR-10 images"
    tidy(axes, title=title, xlabel="accuracy on 1,000 test images (%)", ylabel="")
    axes.legend(frameon=False, labelcolor=MUTED, loc="lower right")
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0, help="processor time of training per method")
    parser.add_argument("--jobs", type=int, default=2, help="methods that run at the same time, one core each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="*", choices=_OF_IMAGES, default=_OF_IMAGES)
    parser.add_argument("--one", choices=_OF_IMAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.seconds, arguments.seed)))
        return
    file = RESULTS.with_suffix(".json")
    results: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    failed = []
    for taught in (False, True):
        with ThreadPoolExecutor(arguments.jobs) as pool:
            names = [name for name in arguments.methods if (name in TEACHERS) == taught]
            runs = {pool.submit(in_a_process, name, arguments.seconds, arguments.seed): name for name in names}
            for run in as_completed(runs):
                if error := run.exception():
                    print(error, flush=True)
                    failed.append(runs[run])
                    continue
                results[runs[run]] = run.result()
                results = {name: results[name] for name in METHODS if name in results}
                file.write_text(json.dumps(results, indent=1) + "\n")
    page = RESULTS.with_suffix(".md")
    _, heading, notes = (page.read_text() if page.exists() else "").partition("\n## Notes")
    head = HEAD.format(seconds=arguments.seconds)
    picture = f"![kNN and ridge of every method]({RESULTS.name}.png)"
    page.write_text(f"{head}\n{table(results)}\n\n{picture}\n{heading}{notes}")
    plot(results, arguments.seconds, RESULTS.with_suffix(".png"))
    print(table(results))
    if failed:
        raise SystemExit(f"No new result: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
