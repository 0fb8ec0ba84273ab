"""What a machine with a GPU can tell: correctness, no waiting, speed, overhead, memory, and CIFAR-10.

    python benchmarks/gpu.py --minutes 15
    python benchmarks/gpu.py --minutes 60 --data FOLDER      # with CIFAR-10 in FOLDER/cifar-10-batches-py
    python benchmarks/gpu.py --device cpu --small --minutes 9  # a trial of the script: it measures nothing

It does what fits into the minutes, in the order of the table below, and a later call goes on where it stopped: every
result is kept in benchmarks/results/gpu.json with its code, commit, hardware, versions, date and command, and is
measured anew when the code, the hardware or a version is another. benchmarks/results/gpu.md is the page of it.
"""

import argparse
import json
import shlex
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from gpu_parts import page
from gpu_parts.cifar10 import RUNS, cifar10
from gpu_parts.identity import ROOT, identity
from gpu_parts.monitors import MONITORED, monitors
from gpu_parts.plan import Ledger, Part, Setup, carry_out, in_processes, measured
from gpu_parts.speed import NETWORKS, SPEED_ITEMS, compiled, speed
from gpu_parts.suite import cuda_tests, no_waiting

from sslbolts.methods import METHODS

PARTS = (  # the most valuable first; minutes: below which no item is begun
    Part("CUDA tests", "Do the tests pass that need a GPU?", 3, ["pytest -m cuda"], cuda_tests),
    Part(
        "no waiting",
        "Does the host wait for the device in a training step? CUDA itself raises where it does, after two steps of "
        "warm-up; tests/invariants has these cases.",
        1,
        list(METHODS),
        no_waiting,
    ),
    Part(
        "speed",
        "How many images (of which all views are made) does a method train on per second, and how near is that to its "
        "speed when all views lie on the device already? In bf16, on one GPU; at 224 pixels from JPEG files of 500 x "
        "375 pixels in the page cache, at 32 from memory.",
        1.5,
        SPEED_ITEMS,
        speed,
    ),
    Part(
        "monitors",
        "What do kNN, probe and collapse monitor cost? Ratios of medians within one run that switches them on and off, "
        "waiting for the device after every step.",
        2,
        MONITORED,
        monitors,
    ),
    Part(
        "compiled backbone",
        "What does torch.compile of the backbone gain? SimCLR with views that lie on the device, in bf16.",
        3,
        list(NETWORKS),
        compiled,
    ),
    Part(
        "CIFAR-10",
        "How well do the configurations learn? As they are written, with the nearest neighbors of every epoch.",
        3,
        RUNS,
        cifar10,
        needs_data=True,
        fills=True,
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required="--one" not in sys.argv, help="for everything together")
    parser.add_argument("--data", type=Path, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--parts", nargs="+", choices=[p.name for p in PARTS], default=[p.name for p in PARTS])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny networks and few steps, without CIFAR-10")
    parser.add_argument("--output", type=Path, help="in place of benchmarks/results/gpu: .json, .md and .png of it")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "gpu", help="for photos, runs and logs")
    for name in ("--one", "--into"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--items", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cpu" and not given.small:
        parser.error("--device cpu tries the script in small: give --small, too")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU that torch can use; --device cpu --small tries the script without one")
    if given.data is not None and not (given.data / "cifar-10-batches-py").is_dir():
        parser.error(f"--data {given.data}: there is no folder cifar-10-batches-py in it")
    data = given.folder if given.small and given.data is None else given.data  # in small, the packaged images
    setup = Setup(given.device, given.small, data, given.seconds, given.folder.resolve())
    if given.one:
        part = next(part for part in PARTS if part.name == given.one)
        warnings.filterwarnings("ignore")
        with Path(given.into).open("a") as into:
            for entry in measured(part, given.items, setup):
                print(json.dumps(asdict(entry)), file=into, flush=True)
        return 0
    results = given.output or (given.folder / "small" if given.small else ROOT / "benchmarks" / "results" / "gpu")
    results.parent.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/gpu.py {shlex.join(sys.argv[1:])}"
    ledger = Ledger(results.with_suffix(".json"), identity(given.device), command)
    passed = ["--device", given.device, "--folder", str(given.folder), *(["--small"] if given.small else [])]
    carry_out(
        [part for part in PARTS if part.name in given.parts],
        ledger,
        setup,
        given.minutes,
        in_processes(Path(__file__).resolve(), [*passed, *(["--data", str(given.data)] if given.data else [])]),
        after_each=lambda: page.write(PARTS, ledger, results, small=given.small),
    )
    print(f"{results.with_suffix('.md')} has the page")
    return 0


if __name__ == "__main__":
    sys.exit(main())
