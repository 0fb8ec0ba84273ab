"""NT-Xent, forward and backward, against lightly's; and its peak memory at a large batch.

    python benchmarks/nt_xent.py [--batch 1024] [--dim 128] [--rounds 40] [--large 32768]

Both losses are timed in turns in one process, so that whatever else the machine does falls on both alike; beside the
wall clock stands the processor time, which waiting for a busy machine does not lengthen. Peak memory is that of a
process of its own: its resident memory at the highest, less that before the loss.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sslbolts.losses import nt_xent

TEMPERATURE = 0.1


def embeddings(batch: int, dim: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, batch, dim, generator=generator)
    return z1.requires_grad_(), z2.requires_grad_()


def seconds(loss: Callable[[], Tensor]) -> tuple[float, float]:
    """Wall clock and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    loss().backward()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(batch: int, dim: int, rounds: int) -> None:
    from lightly.loss import NTXentLoss

    z1, z2 = embeddings(batch, dim)
    theirs = NTXentLoss(TEMPERATURE)
    losses = {"lightly": lambda: theirs(z1, z2), "sslbolts": lambda: nt_xent(z1, z2, TEMPERATURE)}
    gradients = {}
    for name, loss in losses.items():
        z1.grad = None
        loss().backward()
        gradients[name] = z1.grad.clone()
    torch.testing.assert_close(gradients["sslbolts"], gradients["lightly"], rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(losses["sslbolts"]().detach(), losses["lightly"]().detach(), rtol=1e-5, atol=0)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in losses}
    for _ in range(rounds):
        for name, loss in losses.items():
            times[name].append(seconds(loss))
    print(f"batch {batch}, dim {dim}, {torch.get_num_threads()} threads, torch {torch.__version__}, {rounds} rounds")
    for clock, which in (("wall clock", 0), ("processor", 1)):
        of = {name: [pair[which] for pair in pairs] for name, pairs in times.items()}
        middle = {name: statistics.median(values) for name, values in of.items()}
        print(
            f"{clock:10} fastest: lightly {min(of['lightly']) * 1e3:.1f} ms, sslbolts {min(of['sslbolts']) * 1e3:.1f} "
            f"ms, ratio {min(of['lightly']) / min(of['sslbolts']):.2f}; median: lightly {middle['lightly'] * 1e3:.1f} "
            f"ms, sslbolts {middle['sslbolts'] * 1e3:.1f} ms, ratio {middle['lightly'] / middle['sslbolts']:.2f}"
        )


def measure_large(batch: int, dim: int) -> None:
    z1, z2 = embeddings(batch, dim)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent, _ = seconds(lambda: nt_xent(z1, z2, TEMPERATURE))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"batch {batch}, dim {dim}: {(peak - before) / 2**20:.2f} GiB above the {before / 2**20:.2f} GiB before, "
        f"{spent:.1f} s; its similarities at once would take {(2 * batch) ** 2 * 4 / 2**30:.0f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--large", type=int, default=32768, help="0 leaves it out")
    arguments = parser.parse_args()
    compare(arguments.batch, arguments.dim, arguments.rounds)
    if not arguments.large:
        return
    alone = multiprocessing.get_context("spawn").Process(target=measure_large, args=(arguments.large, arguments.dim))
    alone.start()
    alone.join()


if __name__ == "__main__":
    main()
