"""Names and sentences: module docstrings are noun phrases, and there is one spelling."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TEXTS = [
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
    *sorted((ROOT / "configs").glob("*.yaml")),
    *(path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in (".md", ".py")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
]

HEADLESS = ("What", "Which", "Whether", "That", "How", "Where", "Why", "When", "Who")
BRITISH = re.compile(
    r"neighbour|label(l)(ed|ing)|colour|\bgrey|\bcentr(e|ed|ing)\b|behaviour|favour|honour|"
    r"(recogn|normal|optim|initial|organ|summar|regular|visual|minim|maxim|special|general|real|util)is(e|ed|es|ing|ation)\b|"
    r"analys(e|ed|es|ing)\b|artefact|catalogue|licence|\bmodell(ed|ing)|travell|cancelled"
)

# Names that stand fast: an old one that users have, those of recorded cases, and one of folders.
NAMES = re.compile('NeighbourSheet|labelled_share|"unlabelled"|relative_colour_drop|colour_projection|"grey"')


def test_a_module_says_what_it_is_in_a_noun_phrase():
    firsts = {path: (ast.get_docstring(ast.parse(path.read_text())) or "nothing").split()[0] for path in SOURCES}
    assert not [str(path.relative_to(ROOT)) for path, first in firsts.items() if first in (*HEADLESS, "nothing")]


def test_there_is_one_spelling():
    found = {
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in TEXTS
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := BRITISH.search(line.lower())) and not NAMES.search(line)
    }
    assert not found, "American spelling is used here:\n" + "\n".join(sorted(found))
