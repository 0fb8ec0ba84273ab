"""Importing sslbolts does nothing but define names."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = (
    "matplotlib",
    "timm",
    "torchvision",
    "PIL",
    "rich",
    "simplejpeg",
    "sklearn",
    "torchmetrics",
    "pandas",
    "pyarrow",
)

PROBE = """
import json, logging, socket, sys, time
{before}
import torch, {lightning}
def state():
    loggers = [logging.getLogger(), *(l for l in logging.Logger.manager.loggerDict.values() if hasattr(l, "handlers"))]
    return {{l.name: (l.level, len(l.handlers), len(l.filters), l.propagate, l.disabled) for l in loggers}}
def no_network(*args, **kwargs):
    raise AssertionError("network at import")
socket.socket.connect = no_network
loaded, logs, rng = set(sys.modules), state(), torch.get_rng_state()
threads, grad, default = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()
start = time.perf_counter()
import {module}
seconds = time.perf_counter() - start
after = state()
print(json.dumps({{
    "seconds": seconds,
    "new": sorted(set(sys.modules) - loaded),
    "loaded_before": sorted(loaded),
    "logs": logs == {{name: after[name] for name in logs}},
    "new_handlers": [name for name, (_, handlers, *_) in after.items() if name not in logs and handlers],
    "cuda": torch.cuda.is_initialized(),
    "random": torch.equal(rng, torch.get_rng_state()),
    "torch": (threads, grad, str(default)) == (
        torch.get_num_threads(), torch.is_grad_enabled(), str(torch.get_default_dtype())
    ),
    "lightning": __import__("sslbolts._lightning", fromlist=["LIGHTNING"]).LIGHTNING,
}}))
"""


def probe(module: str, *, lightning: str = "pytorch_lightning", before: str = "", **environment: str) -> dict:
    """What importing a module does to a fresh interpreter in which torch and Lightning are imported already."""
    code = PROBE.format(module=module, lightning=lightning, before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "module", ["sslbolts", "sslbolts.callbacks, sslbolts.data, sslbolts.methods.contrastive.simclr, sslbolts.cli"]
)
def test_an_import_has_no_side_effect(module):
    seen = probe(module)
    print(f"\nimport {module}: {1000 * seen['seconds']:.0f} ms over torch and Lightning")
    # torchmetrics and what it imports come with Lightning.
    heavy = {name.partition(".")[0] for name in seen["new"]} & (
        set(HEAVY) - {n.partition(".")[0] for n in seen["loaded_before"]}
    )
    assert not heavy
    assert seen["logs"]
    assert not seen["new_handlers"]
    assert not seen["cuda"]
    assert seen["random"]
    assert seen["torch"]


@pytest.mark.parametrize(
    ("lightning", "environment", "expected"),
    [
        ("pytorch_lightning", {}, "pytorch_lightning"),
        ("lightning.pytorch", {}, "lightning.pytorch"),
        ("pytorch_lightning", {"SSLBOLTS_LIGHTNING": "lightning"}, "lightning.pytorch"),
    ],
)
def test_the_lightning_of_the_application_is_used(lightning, environment, expected):
    assert probe("sslbolts.callbacks", lightning=lightning, **environment)["lightning"] == expected


def test_sslbolts_alone_does_not_import_torch():
    code = "import sys, sslbolts; print(sorted({'torch', 'pytorch_lightning', 'lightning'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("environment", [{}, {"SSLBOLTS_LIGHTNING": "lightning"}])
def test_the_command_is_also_a_module(environment, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sslbolts", "fit", "--model=BYOL", "--print_config"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    assert "class_path: sslbolts.BYOL" in done.stdout
