"""Pages of the documentation: their blocks of code, their prose, and the code of a page run from top to bottom."""

import doctest
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

LANGUAGES = {
    "python": "python", "py": "python",
    "bash": "bash", "sh": "bash", "shell": "bash", "console": "bash",
    "yaml": "yaml", "text": "text", "toml": "text", "json": "text", "ini": "text", "bibtex": "text",
}  # fmt: skip
"""What a fence says -> how the block is treated; "text" is shown and not tried."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)$")
_CODE_DIRECTIVES = ("code-block", "code", "sourcecode", "code-cell")
_NOT_RUN = re.compile(r"^ *<!-- not run:(?P<reason>.*)-->\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        language: one of the values of ``LANGUAGES``.
        code: its lines, without the indentation of the fence.
        line: of the page, where the code begins; the first is 1.
        not_run: why it must not be tried; None if it is.
        file: a name that the text before it gives to it, `like_this.yaml`; None if there is none.
    """

    language: str
    code: str
    line: int
    not_run: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Page:
    """A page in Markdown, taken apart.

    Attributes:
        path: of the file.
        blocks: in order.
        prose: lines outside of blocks and comments, by number; the first is 1.
    """

    path: Path
    blocks: list[Block]
    prose: dict[int, str]

    @property
    def name(self) -> str:
        """Its path in the repository, for messages."""
        return str(self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path.name)

    def of(self, language: str) -> list[Block]:
        """The blocks of a language that are tried."""
        return [block for block in self.blocks if block.language == language and block.not_run is None]

    def inline(self) -> Iterator[tuple[int, str]]:
        """Line and content of every `piece of code` in the prose."""
        for line, text in self.prose.items():
            for _, code in re.findall(r"(`+)(.+?)\1", text):
                yield line, code.strip()


def read(path: Path) -> Page:
    """A Markdown file, or the Markdown cells of a notebook.

    Raises:
        ValueError: names the line of a fence that is never closed, of a language that nobody knows, or of a block that
            is not run without a reason.
    """
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    return taken_apart(text, path)


def taken_apart(text: str, path: Path) -> Page:
    """See :func:`read`."""
    blocks: list[Block] = []
    prose: dict[int, str] = {}
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        opened = _FENCE.match(line)
        if opened is None:
            prose[number] = line
            continue
        start = number
        closing = re.compile(rf"^ *{opened['fence'][0]}{{{len(opened['fence'])},}}\s*$")
        while number < len(lines) and not closing.match(lines[number]):
            number += 1
        if number == len(lines):
            raise ValueError(f"{path.name}:{start}: a block is opened that nothing closes")
        inside = [content.removeprefix(opened["indent"]) for content in lines[start:number]]
        number += 1
        language = _language(opened["info"].strip(), f"{path.name}:{start}")
        if language is None:  # a directive, whose content is prose
            prose |= {start + i: content for i, content in enumerate(inside, 1)}
            continue
        reason = _reason(prose, start, path)
        blocks.append(Block(language, "\n".join(inside) + "\n", start + 1, reason, _file_before(prose, blocks, start)))
    hidden = re.compile(r"<!--.*?-->", re.DOTALL)
    shown = hidden.sub(
        lambda found: "\n" * found[0].count("\n"), "\n".join(prose.get(n, "") for n in range(1, number + 1))
    )
    return Page(path, blocks, dict(enumerate(shown.split("\n"), 1)))


def _language(info: str, where: str) -> str | None:
    directive = re.match(r"\{([\w:-]+)\}\s*(\S*)", info)
    if directive and directive[1] not in _CODE_DIRECTIVES:
        return None
    said = (directive[2] if directive else info.partition(" ")[0]).lower()
    if said not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise ValueError(f"{where}: a block of {said or 'no language'!r}: say one of {known}; text is not tried")
    return LANGUAGES[said]


def _reason(prose: dict[int, str], start: int, path: Path) -> str | None:
    """The reason in the comment directly before a block, with at most empty lines between."""
    before = start - 1
    while before in prose and not prose[before].strip():
        before -= 1
    marked = _NOT_RUN.match(prose.get(before, ""))
    if marked is None:
        return None
    if not marked["reason"].strip():
        raise ValueError(f"{path.name}:{before}: a block that is not run needs a reason: <!-- not run: reason -->")
    return marked["reason"].strip()


def _file_before(prose: dict[int, str], blocks: list[Block], start: int) -> str | None:
    """The last name of a file in the text between the block before and this one."""
    since = blocks[-1].line + blocks[-1].code.count("\n") if blocks else 0
    between = "\n".join(prose.get(line, "") for line in range(since + 1, start))
    names = re.findall(r"`([\w-]+\.(?:yaml|py|sh))`", between)
    return names[-1] if names else None


def run_python(page: Page, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the Python of a page, block after block, in one namespace and the present folder.

    Prompts (``>>>``) are compared with what stands below them. An error's traceback names line and page.
    """
    namespace = {"__name__": "__page__"} if namespace is None else namespace
    for block in page.of("python"):
        if block.code.lstrip().startswith(">>>"):
            flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
            test = doctest.DocTestParser().get_doctest(block.code, namespace, page.name, page.name, block.line - 1)
            runner = doctest.DebugRunner(verbose=False, optionflags=flags)
            runner.run(test, clear_globs=False)
            namespace |= test.globs
        else:
            if block.file and block.file.endswith(".py"):
                Path(block.file).write_text(block.code)
            exec(compile("\n" * (block.line - 1) + block.code, str(page.path), "exec"), namespace)
    return namespace


def write_files(page: Page) -> None:
    """Write every YAML block that the page gives a name, as its commands expect it, into the present folder."""
    for block in page.of("yaml"):
        if block.file and block.file.endswith(".yaml"):
            Path(block.file).write_text(block.code)
