"""Importing sslbolts does nothing but define names."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sslbolts import _lightning

ROOT = Path(__file__).parents[1]
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
import torch, pytorch_lightning

def refuse(*_, **__):
    raise AssertionError("CUDA or the network was touched")

torch.cuda._lazy_init = torch.cuda.is_available = torch.cuda.device_count = socket.socket.connect = refuse

def state():
    loggers = [logging.getLogger(), *(l for l in logging.Logger.manager.loggerDict.values() if hasattr(l, "handlers"))]
    return {{l.name: (l.level, len(l.handlers), len(l.filters), l.propagate, l.disabled) for l in loggers}}

def seen(code):
    loaded, logs, rng = set(sys.modules), state(), torch.get_rng_state()
    torch_was = torch.get_num_threads(), torch.is_grad_enabled(), str(torch.get_default_dtype())
    start = time.perf_counter()
    exec(code)
    seconds, after = time.perf_counter() - start, state()
    return {{
        "seconds": seconds,
        "new": sorted(set(sys.modules) - loaded),
        "logs": logs == {{name: after[name] for name in logs}},
        "new_handlers": [name for name, (_, handlers, *_) in after.items() if name not in logs and handlers],
        "random": torch.equal(rng, torch.get_rng_state()),
        "torch": torch_was == (torch.get_num_threads(), torch.is_grad_enabled(), str(torch.get_default_dtype())),
        "lightning": getattr(sys.modules.get("sslbolts._lightning"), "LIGHTNING", None),
    }}

print(json.dumps([seen(code) for code in {programs!r}]))
"""

PROGRAMS = (
    "import sslbolts",
    "import sslbolts.callbacks, sslbolts.data, sslbolts.cli",
    "import sslbolts\nfor name in sslbolts.METHODS: getattr(sslbolts, name)",
)


def test_no_import_has_a_side_effect():
    """Not even that of every method, in an interpreter in which torch and Lightning are imported already."""
    done = subprocess.run([sys.executable, "-c", PROBE.format(programs=PROGRAMS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for program, seen in zip(PROGRAMS, json.loads(done.stdout.splitlines()[-1]), strict=True):
        print(f"\n{program}: {1000 * seen['seconds']:.0f} ms over what was there")
        # torchmetrics and what it imports come with Lightning.
        assert not {name.partition(".")[0] for name in seen["new"]} & set(HEAVY)
        assert seen["logs"]
        assert not seen["new_handlers"]
        assert seen["random"]
        assert seen["torch"]
    assert seen["lightning"] == "pytorch_lightning"


@pytest.mark.parametrize(
    ("imported", "wish", "expected"),
    [
        ((), None, "pytorch_lightning"),
        (("pytorch_lightning",), None, "pytorch_lightning"),
        (("lightning.pytorch",), None, "lightning.pytorch"),
        (("lightning.pytorch", "pytorch_lightning"), None, "pytorch_lightning"),
        (("pytorch_lightning",), "lightning", "lightning.pytorch"),
        (("lightning.pytorch",), "pytorch_lightning", "pytorch_lightning"),
    ],
)
def test_the_lightning_of_the_application_is_used(imported, wish, expected, monkeypatch):
    for name in ("pytorch_lightning", "lightning.pytorch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in imported:
        monkeypatch.setitem(sys.modules, name, object())
    monkeypatch.delenv("SSLBOLTS_LIGHTNING", raising=False)
    if wish is not None:
        monkeypatch.setenv("SSLBOLTS_LIGHTNING", wish)
    assert _lightning._choose() == expected


@pytest.mark.slow
def test_one_lightning_is_imported_and_not_the_other():
    """Neither Lightning nor the Fabric below it: each redirects the log of both to itself when it is imported."""
    code = (
        "import pkgutil, sys, sslbolts; from importlib import import_module\n"
        "names = [m.name for m in pkgutil.walk_packages(sslbolts.__path__, 'sslbolts.') if '__main__' not in m.name]\n"
        "for name in names: import_module(name)\n"
        "code = import_module('sslbolts.cli').main(['fit', '--model=SimCLR', '--print_config'])\n"
        "either = {'pytorch_lightning', 'lightning_fabric', 'lightning.pytorch', 'lightning.fabric'}\n"
        "print(code, len(names) > 300, sorted(either & set(sys.modules)))"
    )
    environment = {**os.environ, "SSLBOLTS_LIGHTNING": "lightning"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "0 True ['lightning.fabric', 'lightning.pytorch']", done.stderr


def test_one_file_alone_names_a_lightning():
    """Whatever else imports one, a test too, would import the wrong one under the other name."""
    names = re.compile(r"^ *(?:from|import) +(?:pytorch_lightning|lightning_fabric|lightning)\b", re.MULTILINE)
    files = [path for room in ("src", "tests") for path in (ROOT / room).rglob("*.py")]
    naming = {str(path.relative_to(ROOT)) for path in files if names.search(path.read_text(encoding="utf-8"))}
    assert naming == {"src/sslbolts/_lightning.py", "tests/bolts/record.py"}


def test_sslbolts_alone_does_not_import_torch():
    code = "import sys, sslbolts; print(sorted({'torch', 'pytorch_lightning', 'lightning'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
