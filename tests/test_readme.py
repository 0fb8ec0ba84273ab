"""The README's Python runs as it stands there, with runs cut to one batch."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore")
def test_python_blocks_of_the_readme_run_in_order(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 4
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks:
        short = re.sub(r"max_epochs=\d+", "accelerator='cpu', fast_dev_run=True", block)
        exec(compile(short, str(README), "exec"), namespace)
    assert (tmp_path / "runs/resnet18.safetensors").exists()


def test_every_method_stands_in_the_readme():
    from sslbolts import METHODS

    text = README.read_text()
    missing = [name for name, method in METHODS.items() if f"`{name}`" not in text or method.paper not in text]
    assert not missing
