"""Code, hardware and versions that a measurement depends on."""

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sslbolts.callbacks import record

ROOT = Path(__file__).parents[2]
CODE = ("src", "configs", "tests/invariants", "tests/helpers", "benchmarks/gpu.py", "benchmarks/gpu_parts")


def identity(device: str) -> dict[str, Any]:
    """``commit``, for people; ``code``, a digest; ``hardware``; ``versions`` by package."""
    machine = record._machine()
    accelerator = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    versions = record._versions() | ({"driver": _driver()} if device == "cuda" else {})
    return {
        "commit": _commit(),
        "code": digest([ROOT / place for place in CODE]),
        "hardware": f"{accelerator}; {machine['processors']} cores of {machine['processor']}",
        "versions": versions,
    }


def digest(places: Sequence[Path]) -> str:
    """Of all files with code in these files and folders: their names and contents."""
    found = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.suffix in (".py", ".yaml"):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                found.update(f"{path.relative_to(ROOT)} {content}\n".encode())
    return found.hexdigest()[:16]


def _commit() -> str:
    """That of the repository, with a mark if files of it differ, other than results."""
    asked = ["git", "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)benchmarks/results"]
    head, changes = (
        subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        for words in (["git", "rev-parse", "--short=9", "HEAD"], asked)
    )
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")


def _driver() -> str:
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.split("\n")[0].strip()
