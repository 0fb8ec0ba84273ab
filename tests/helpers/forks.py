"""Processes forked from a server that has imported everything: each of them then begins in no time.

A process of tests has one server, which imports for seconds; pytest gives all tests with forks to one process
(``conftest.py``).
"""

import multiprocessing.context

import torch.multiprocessing as mp

PRELOADED = ("tests.invariants.checks", "tests.kill.command", "torch._dynamo")
"""Modules of what is called, and the compiler, which the first wrapping for several processes would import."""


def fork_server() -> multiprocessing.context.ForkServerContext:
    """The context to start processes in; what they call must be importable."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED])
    return context
