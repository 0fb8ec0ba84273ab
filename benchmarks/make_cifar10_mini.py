"""Packs the first images of each CIFAR-10 class, from a folder of JPEG files, into the file that sslbolts ships.

    python benchmarks/make_cifar10_mini.py FOLDER src/sslbolts/data/cifar10_mini.npz

FOLDER holds ``train/<class>/<n>.jpg`` and ``test/<class>/<n>.jpg``. All files come from one encoder with one setting,
so they share everything before the compressed pixels (623 bytes of tables each): it is stored once, which makes the
file a third of what the JPEG files take. Nothing is decoded or encoded here.
"""

import argparse
from pathlib import Path

import numpy as np

PER_CLASS = {"train": 500, "test": 100}
START_OF_SCAN = b"\xff\xda"


def split_header(jpeg: bytes) -> tuple[bytes, bytes]:
    """The tables (up to and with the start-of-scan segment) and the compressed pixels of a JPEG file."""
    marker = jpeg.index(START_OF_SCAN)
    length = int.from_bytes(jpeg[marker + 2 : marker + 4], "big")
    return jpeg[: marker + 2 + length], jpeg[marker + 2 + length :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()

    headers: set[bytes] = set()
    arrays: dict[str, np.ndarray] = {}
    for split, count in PER_CLASS.items():
        scans: list[bytes] = []
        labels: list[int] = []
        for label, folder in enumerate(sorted(path for path in (args.folder / split).iterdir() if path.is_dir())):
            files = sorted(folder.glob("*.jpg"), key=lambda path: int(path.stem))[:count]
            for file in files:
                header, scan = split_header(file.read_bytes())
                headers.add(header)
                scans.append(scan)
                labels.append(label)
        arrays[f"{split}_scans"] = np.frombuffer(b"".join(scans), np.uint8)
        arrays[f"{split}_ends"] = np.cumsum([len(scan) for scan in scans]).astype(np.int32)
        arrays[f"{split}_labels"] = np.array(labels, np.uint8)
    (header,) = headers  # one encoder, one setting
    np.savez(args.output, header=np.frombuffer(header, np.uint8), **arrays)
    print(
        f"{args.output}: {args.output.stat().st_size:,} bytes, {', '.join(f'{k} {v.shape}' for k, v in arrays.items())}"
    )


if __name__ == "__main__":
    main()
