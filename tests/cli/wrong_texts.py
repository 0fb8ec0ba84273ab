"""Texts that cannot be learned from, and methods on text without one."""

from sslbolts import Word2Vec
from sslbolts._lightning import Trainer
from sslbolts.data import CIFAR10MiniDataModule, TextDataModule
from tests.cli.wrong import TRAINER, Wrong

_FIT = ["fit", *TRAINER, "--trainer.max_epochs=1"]
WORD2VEC = [*_FIT, "--model=Word2Vec", "--data=TextDataModule"]
BERT = [
    *_FIT,
    "--model=MaskedLanguageModel",
    "--data=TextDataModule",
    "--data.batch_size=8",
    "--model.dim=8",
    "--model.heads=2",
]


def _quick() -> Trainer:
    return Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)


WRONG_TEXTS = [
    Wrong(
        "word2vec on images",
        [*_FIT, "--model=Word2Vec"],
        "Word2Vec learns from text, and there is no vocabulary: give it a TextDataModule (--data TextDataModule)",
        lambda folder: _quick().fit(Word2Vec(), CIFAR10MiniDataModule(num_workers=0)),
    ),
    Wrong(
        "a text that is not there",
        [*WORD2VEC, "--data.files={files}/none.txt"],
        "none.txt cannot be read: No such file",
        lambda folder: TextDataModule(str(folder / "none.txt")).vocabulary,
    ),
    Wrong(
        "words that are all rare",
        [*WORD2VEC, "--data.min_count=1000"],
        "alice.txt: 0 different words occur min_count=1000 times or more, and two are needed",
        lambda folder: TextDataModule(min_count=1000).vocabulary,
    ),
    Wrong(
        "pieces longer than the positions",
        [*BERT, "--model.depth=1", "--model.max_length=32"],
        "pieces of 64 words need 66 positions",
    ),
]
