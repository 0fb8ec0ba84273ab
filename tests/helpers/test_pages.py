"""The reader of pages: what it finds, what it refuses, and that wrong code, commands and configurations are noticed."""

import doctest
from pathlib import Path

import pytest

from tests.helpers import command_lines, pages
from tests.helpers.command_lines import try_command, try_config

PAGE = """# A page

Some `inline` code. <!-- `hidden` -->

```python
one = 1
```

1. Indented:

   ```console
   $ sslbolts methods \\
       --plain
   name    family
   ```

<!-- not run: needs eight GPUs -->

```python
import nothing_of_that_name
```

Put this into `photos.yaml`:

~~~yaml
trainer: {max_epochs: 3}
~~~

```{note}
The `prose` of a directive.
```

```{code-block} python
two = one + 1
```

```python
>>> one + two
3
```
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def page(text: str = PAGE) -> pages.Page:
    return pages.taken_apart(text, Path("page.md"))


def test_blocks_have_language_line_reason_and_file():
    found = [(b.language, b.line, b.not_run, b.file) for b in page().blocks]
    assert found == [
        ("python", 6, None, None),
        ("bash", 12, None, None),
        ("python", 20, "needs eight GPUs", None),
        ("yaml", 26, None, "photos.yaml"),
        ("python", 34, None, None),
        ("python", 38, None, None),
    ]
    assert page().blocks[1].code.startswith("$ sslbolts methods")
    assert [code for _, code in page().inline()] == ["inline", "photos.yaml", "prose"]


def test_python_runs_in_one_namespace_and_names_its_line():
    assert pages.run_python(page())["two"] == 2
    with pytest.raises(ZeroDivisionError) as error:
        pages.run_python(page("text\n\n```python\nx = 0\n1 / x\n```\n"))
    assert error.traceback[-1].lineno + 1 == 5
    with pytest.raises(doctest.DocTestFailure):
        pages.run_python(page("```python\n>>> 1\n2\n```\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- not run: -->\n```python\n```\n", "page.md:1: .* needs a reason"),
        ("```python\nx = 1\n", "page.md:1: a block is opened that nothing closes"),
        ("```\nx\n```\n", "page.md:1: a block of 'no language'"),
        ("a\n```pyhton\nx\n```\n", "page.md:2: a block of 'pyhton'"),
    ],
)
def test_what_is_left_unsaid_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        page(text)


def test_commands_are_taken_apart():
    code = "A=1 sslbolts methods --plain | head  # comment\ncd x && make test JOBS=4\nsslbolts fit \\\n  --seed $SEED\n"
    assert list(command_lines.command_lines(code)) == [
        (0, ["sslbolts", "methods", "--plain"]),
        (0, ["head"]),
        (1, ["cd", "x"]),
        (1, ["make", "test", "JOBS=4"]),
        (2, ["sslbolts", "fit", "--seed", "1"]),
    ]
    assert list(command_lines.command_lines(page().blocks[1].code)) == [(0, ["sslbolts", "methods", "--plain"])]


@pytest.mark.parametrize(
    "command",
    [
        "sslbolts evaluate knn runs/demo/simclr.ckpt --data CIFAR10Mini",
        "sslbolts report runs/a runs/b --output both.html",
        "torchrun --nproc-per-node 2 -m sslbolts methods --plain",
        "python benchmarks/overhead.py [--steps 400] [--device cpu|cuda]",
        "make test JOBS=4",
        "pip install 'sslbolts[onnx]'",
        "pytest tests/helpers",
    ],
)
def test_a_right_command_is_understood(command):
    ((_, words),) = command_lines.command_lines(command)
    try_command(words)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sslbolts evaluate knn x.ckpt --dataset CIFAR10Mini", "--dataset"),
        ("sslbolts evluate knn x.ckpt", "evluate"),
        ("python benchmarks/overhead.py --stepz 3", "--stepz"),
        ("python benchmarks/nothing.py", "there is no benchmarks/nothing.py"),
        ("make coffee", "no target coffee"),
        ("pip install .[everything]", "no extra everything"),
        ("pytest tests/nothing.py", "there is no tests/nothing.py"),
        ("sslbotls fit", "nobody knows the program 'sslbotls'"),
    ],
)
def test_a_wrong_command_is_noticed(command, message):
    ((_, words),) = command_lines.command_lines(command)
    with pytest.raises(AssertionError, match=message):
        try_command(words)


@pytest.mark.filterwarnings("ignore")
def test_training_commands_and_configurations_are_parsed():
    try_command(["sslbolts", "validate", "--ckpt_path", "runs/demo/simclr.ckpt", "--data", "CIFAR10Mini"])
    try_config("- class_path: sslbolts.callbacks.KNNMonitor\n  init_args: {k: [20]}\n")
    try_config("trainer: {max_epochs: 3}\ndata: {class_path: sslbolts.data.CIFAR10MiniDataModule}\n")
    for wrong in ("trainer: {max_epoch: 3}\n", "trainr: {}\n", "model: {class_path: sslbolts.SimCRL}\n", "- a\n"):
        with pytest.raises(AssertionError):
            try_config(wrong)
    with pytest.raises(AssertionError, match="max_epoks"):
        try_command(["sslbolts", "fit", "--model", "SimCLR", "--trainer.max_epoks", "3"])
