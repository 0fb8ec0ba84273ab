"""Texts with a known structure, and batches of random words that are the same on every machine."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from sslbolts.batch import TextBatch
from tests.helpers.views import RankShares

TOPIC = 20  # words of each of the two vocabularies


def topic_words() -> tuple[list[str], list[str]]:
    """Two vocabularies that have no word in common."""
    letters = "abcdefghijklmnopqrst"
    return [f"fish{letter}" for letter in letters], [f"bird{letter}" for letter in letters]


def two_topics(sentences: int, *, seed: int, in_turn: bool = False, length: int = 10) -> str:
    """Sentences of words of one topic: any of them; or ``in_turn``, each followed by the next of its vocabulary."""
    draw = torch.Generator().manual_seed(seed)
    lines = []
    for number in range(sentences):
        words: Sequence[str] = topic_words()[number % 2]
        chosen = torch.randint(TOPIC, (length,), generator=draw)
        if in_turn:
            chosen = (chosen[0] + torch.arange(length)) % TOPIC
        lines.append(" ".join(words[place] for place in chosen.tolist()) + ".")
    return "\n".join(lines)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


class RandomWords(Dataset[TextBatch]):
    """Rows of 12 of 20 words, with sentence ends among them; the last four words of some rows are missing."""

    counts = [40, *(60 - 2 * place for place in range(19))]

    def __init__(self, rows: int, length: int = 12) -> None:
        draw = torch.Generator().manual_seed(1)
        self.ids = torch.randint(0, 20, (rows, length), generator=draw)
        self.ids[::3, -4:] = -1

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> TextBatch:
        return TextBatch(self.ids[index], torch.tensor(-1), torch.tensor(index))


def words_loader(rows: int, global_batch: int, *, rank: int = 0, world: int = 1) -> DataLoader[TextBatch]:
    """A training loader whose batches on ``world`` ranks, joined in rank order, are those of a single process."""
    return DataLoader(RandomWords(rows), batch_sampler=RankShares(rows, global_batch // world, rank, world))
