"""Texts as numbers: the words of files, their vocabulary, and the places of both in it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sslbolts.checks import read_regular
from sslbolts.errors import UsageError

__all__ = [
    "SENTENCE_END",
    "UNKNOWN",
    "RareWords",
    "Split",
    "Vocabulary",
    "numbered",
    "pieces",
    "read_text",
    "texts",
    "words_of",
]

SENTENCE_END = "</s>"
UNKNOWN = "[UNK]"
_LARGEST = 2**34  # bytes of a file
_WORD_OR_END = re.compile(r"([^\W_]+(?:['’-][^\W_]+)*)|([.!?]+(?!\w)|\n\s*\n)")

Split = Literal["words", "whitespace"]
"""Letters and digits, with sentences that end in a stop or a blank line; or what stands between blanks, and lines."""

RareWords = Literal["drop", "unknown"]
"""Rare words are left out, so that others become neighbors; or the last entry of the vocabulary is all of them."""


@dataclass(frozen=True)
class Vocabulary:
    """Words by how often they occur, the sentence end first.

    Attributes:
        words: the most frequent first, and among equals by the alphabet; ``words[0]`` is ``"</s>"``.
        counts: how often each occurs, ``(V,)`` int64.

    Example:
        >>> vocabulary, ids, _ = numbered(["a", "b", "a", "</s>", "c", "b", "a"], min_count=2)
        >>> vocabulary.words, vocabulary.counts.tolist(), ids.tolist()
        (['</s>', 'a', 'b'], [1, 3, 2], [1, 2, 1, 0, 2, 1])
    """

    words: list[str]
    counts: Tensor

    def __len__(self) -> int:
        return len(self.words)


def read_text(path: str | Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        UsageError: names the file, if it cannot be read or is no text.
    """
    try:
        content = read_regular(path, _LARGEST)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is no text in UTF-8 (byte {content[error.start]:#04x} at {error.start:,}): give a plain text file."
        ) from error
    if "\0" in text:
        raise UsageError(f"{path} is no text (it holds zero bytes): give a plain text file.")
    return text


def words_of(text: str, *, split: Split = "words", lowercase: bool = True) -> Iterator[str]:
    """The words of a text one after the other, and ``"</s>"`` at each end of a sentence.

    Args:
        text: the text.
        split: what a word is.
        lowercase: whether capital letters become small ones.

    Example:
        >>> list(words_of("Alice's cat. Down, down!"))
        ["alice's", 'cat', '</s>', 'down', 'down', '</s>']
        >>> list(words_of("play ##ing .", split="whitespace"))
        ['play', '##ing', '.', '</s>']
    """
    text = text.lower() if lowercase else text
    if split == "whitespace":
        for line in text.splitlines():
            yield from (word for word in line.split() if word != SENTENCE_END)
            yield SENTENCE_END
        return
    for match in _WORD_OR_END.finditer(text.replace("’", "'")):
        yield match[1] or SENTENCE_END


def numbered(
    words: Iterable[str], *, min_count: int = 1, rare: RareWords = "drop", apart: float = 0.0
) -> tuple[Vocabulary, Tensor, Tensor]:
    """The vocabulary of a text, and the text as places in it.

    Args:
        words: with ``"</s>"`` at the ends of sentences; of several in a row one stays.
        min_count: rarer words are not in the vocabulary.
        rare: what becomes of these.
        apart: part of the text, from its end, that is not counted.

    Returns:
        the vocabulary; ids ``(N,)`` int64 of the text; and of the part at its end.
    """
    first_seen: defaultdict[str, int] = defaultdict(count().__next__)
    assert first_seen[SENTENCE_END] == 0
    ids = _without_empty_sentences(torch.from_numpy(np.fromiter((first_seen[word] for word in words), dtype=np.int64)))
    border = len(ids) - round(apart * len(ids))
    known = list(first_seen)
    counts = torch.bincount(ids[:border], minlength=len(known))
    often = counts.tolist()
    order = sorted(range(1, len(known)), key=lambda place: (-often[place], known[place]))
    kept = [0, *(place for place in order if often[place] >= min_count)]
    vocabulary, totals = [known[place] for place in kept], counts[kept]
    places = torch.full((len(known),), -1)
    places[kept] = torch.arange(len(kept))
    others = int(counts.sum() - totals.sum())
    if rare == "unknown" and others:
        vocabulary.append(UNKNOWN)
        totals = torch.cat([totals, torch.tensor([others])])
        places[places < 0] = len(kept)
    texts = [_without_empty_sentences(part[part >= 0]) for part in (places[ids[:border]], places[ids[border:]])]
    return Vocabulary(vocabulary, totals), texts[0], texts[1]


def pieces(ids: Tensor, length: int) -> Tensor:
    """Text ``(N,)`` cut into rows ``(R, length)``; -1 behind its end.

    Example:
        >>> pieces(torch.arange(5), 3).tolist()
        [[0, 1, 2], [3, 4, -1]]
    """
    rows = -(-len(ids) // length)
    padded = torch.full((rows * length,), -1)
    padded[: len(ids)] = ids
    return padded.view(rows, length)


def _without_empty_sentences(ids: Tensor) -> Tensor:
    """The text without ends of sentences that follow another, or come first."""
    before = torch.cat([torch.zeros(1, dtype=ids.dtype), ids[:-1]])
    return ids[(ids != 0) | (before != 0)]


def texts(files: Sequence[str | Path], **settings: object) -> Iterator[str]:
    """The words of several files, one after the other; a sentence ends with each."""
    for path in files:
        yield from words_of(read_text(path), **settings)  # type: ignore[arg-type]
        yield SENTENCE_END
