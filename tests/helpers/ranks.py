"""A pool of two gloo processes that lives as long as the test run.

The whole run shares one pair. Functions are sent by name: they must be importable. Inside, ``Trainer(accelerator="cpu",
devices=2, strategy="ddp")`` finds the process group that is there already.
"""

import gc
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from tests.helpers.forks import fork_server

WORLD_SIZE = 2


def _serve(rank: int, port: int, requests: Any, answers: Any) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(WORLD_SIZE),
        GROUP_RANK="0",
        LOCAL_WORLD_SIZE=str(WORLD_SIZE),
        TORCHELASTIC_RUN_ID="tests",  # Lightning then joins this pair instead of starting its own
    )
    torch.set_num_threads(1)
    gc.freeze()  # modules, which stay
    gc.set_threshold(100_000, 20, 20)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD_SIZE)
    while (request := requests.get()) is not None:
        function, args = request
        os.environ.pop("PL_GLOBAL_SEED", None)  # of a function before, which DDP would start from again
        try:
            answers.put((rank, function(*args), None))
        except Exception:
            answers.put((rank, None, traceback.format_exc()))
    dist.destroy_process_group()


class TwoRanks:
    """Call it with a function and its arguments; it answers with the results of rank 0 and rank 1."""

    def __init__(self) -> None:
        context = fork_server()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.answers = context.Queue()
        self.requests = [context.Queue() for _ in range(WORLD_SIZE)]
        self.processes = [
            context.Process(target=_serve, args=(rank, port, self.requests[rank], self.answers), daemon=True)
            for rank in range(WORLD_SIZE)
        ]
        for process in self.processes:
            process.start()

    def __call__(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        for queue in self.requests:
            queue.put((function, args))
        results: list[Any] = [None] * WORLD_SIZE
        errors = []
        for _ in range(WORLD_SIZE):
            rank, result, error = self.answers.get(timeout=300)
            results[rank] = result
            if error is not None:
                errors.append(f"rank {rank}:\n{error}")
        assert not errors, "\n".join(errors)
        return results

    def close(self) -> None:
        for queue in self.requests:
            queue.put(None)
        for process in self.processes:
            process.join(timeout=20)
            if process.is_alive():
                process.kill()
