"""How fast folders of image files are listed, and what the list takes, beside torchvision's ImageFolder.

    python benchmarks/listing.py [--files 60000 600000] [--folders 1000]

Hard links are made in 1,000 folders of a temporary folder, under names as long as ImageNet's. Each library
lists them in turns, in a process of its own, twice: time is that of the second, when the file system has its entries
in memory; bytes are those by which the process has grown when all else is let go. Linux with glibc.
"""

import argparse
import ctypes
import gc
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torchvision
from torchvision.datasets import ImageFolder

from sslbolts.data import ImageFolderDataModule

RESULT = Path(__file__).parent / "results" / "listing.md"
LIBRARIES: dict[str, Callable[[str], Any]] = {
    "torchvision": ImageFolder,
    "sslbolts": lambda root: ImageFolderDataModule(root, in_memory=False).images("train"),
}


def make_folder(root: Path, files: int, folders: int) -> None:
    """Class folders of hard links, in each to a file of its own, since a file system allows few links to one."""
    for folder in range(folders):
        place = root / f"n{folder:08}"
        place.mkdir(parents=True)
        first = str(place / f"n{folder:08}_00000.JPEG")
        Path(first).write_bytes(b"\xff\xd8\xff\xd9")
        for number in range(1, files // folders):
            os.link(first, f"{first[:-10]}{number:05}.JPEG")


def measured(root: Path, library: str, files: int) -> dict[str, float]:
    """Seconds, and bytes held, of a listing in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as process:
        return process.apply(_measured, (root, library, files))


def _measured(root: Path, library: str, files: int) -> dict[str, float]:
    warnings.simplefilter("ignore")
    make = LIBRARIES[library]
    make(str(root / "few"))  # what a library loads when it is first used
    before = resident()
    held = make(str(root / "many"))
    grown = resident() - before
    assert len(held) == files, len(held)
    start = time.perf_counter()
    make(str(root / "many"))
    return {"seconds": time.perf_counter() - start, "bytes": grown}


def resident() -> int:
    """Bytes of this process, without what has been let go."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[60_000, 600_000])
    parser.add_argument("--folders", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = []
    for files in arguments.files:
        with tempfile.TemporaryDirectory(prefix="listing-") as name:
            start = time.perf_counter()
            make_folder(Path(name) / "many", files, arguments.folders)
            make_folder(Path(name) / "few", 4, 2)
            print(f"{files:,} hard links made in {time.perf_counter() - start:.0f} s", flush=True)
            found: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
            for _ in range(arguments.rounds):
                for library in LIBRARIES:
                    found[library].append(measured(Path(name), library, files))
        seconds = {name: statistics.median(one["seconds"] for one in runs) for name, runs in found.items()}
        held = {name: statistics.median(one["bytes"] for one in runs) / files for name, runs in found.items()}
        rows.append(
            f"| {files:,} | {seconds['torchvision']:.3f} s | {seconds['sslbolts']:.3f} s | "
            f"{seconds['torchvision'] / seconds['sslbolts']:.2f} | {1e6 * seconds['sslbolts'] / files:.2f} µs | "
            f"{held['torchvision']:.0f} | {held['sslbolts']:.0f} |"
        )
        print(rows[-1], flush=True)
    RESULT.write_text(page(rows, arguments.folders, arguments.rounds))


def page(rows: list[str], folders: int, rounds: int) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    lines = [
        "# Listing folders of image files",
        "",
        f"Commit {commit}, {date.today()}, {versions}, {machine()}.",
        "",
        "    python benchmarks/listing.py",
        "",
        f"Hard links in {folders:,} folders, listed by `ImageFolder(root)` and by the training images of",
        f"`ImageFolderDataModule(root)`, in turns, each in a process of its own; medians of {rounds}. The file",
        "system's entries are in memory. Bytes are those by which the process grew, with names and labels.",
        "",
        "| files | torchvision | sslbolts | times as fast | per file | bytes, torchvision | bytes, sslbolts |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The processor's name and number of cores."""
    cpu = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else "unknown processor"


if __name__ == "__main__":
    main()
