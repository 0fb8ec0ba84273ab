"""BERT's masked language model: hidden words are predicted from those on both sides."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbolts.batch import TextBatch
from sslbolts.checks import fraction, positive, whole
from sslbolts.distributed import world_size
from sslbolts.errors import UsageError
from sslbolts.health import Indicator
from sslbolts.losses.text import masked_tokens
from sslbolts.methods.base import LRScaling
from sslbolts.methods.text.base import TextModule
from sslbolts.methods.text.masking import MaskedText, number_of_predictions, random_masks
from sslbolts.networks.words import TextEncoder, start_as_bert
from sslbolts.optim import BertAdam, OptimizerCallable
from sslbolts.training.seeds import generator

__all__ = ["MaskedLanguageModel"]

_SPECIAL = ("[CLS]", "[SEP]", "[MASK]", "[PAD]")  # they stand behind the words of the vocabulary


class MaskedLanguageModel(TextModule):
    """BERT without its task of next sentences: some words of a text are hidden, and the encoder predicts them.

    Each piece of text stands between [CLS] and [SEP]. A share of its tokens is predicted: of ten, eight are shown as
    [MASK], one as it is, one as any token. The output has the vectors of the words for its weights, and a bias.
    The features of a piece of text are its [CLS] token.

    Args:
        dim: width of the encoder.
        depth: its blocks.
        heads: of its attention.
        mlp_ratio: width of a block's inner layer, in units of ``dim``.
        max_length: positions, two more than a piece of text has words.
        dropout: of embeddings, attention and blocks.
        init_std: deviation of the initial matrices. BERT's, 0.02, is for its width: an encoder of 64 learns to guess by
            frequency, and nothing else, unless it starts from more, such as 0.1.
        mask_probability: share of the tokens that are predicted, [CLS] and [SEP] counted.
        max_predictions: more than so many are not predicted of one piece.
        whole_words: hide a word with its parts, tokens that begin with ``##`` (a text that was divided into them
            before, read with ``split="whitespace"``).
        optimizer: Adam with decoupled weight decay and without bias correction, lr 1e-4; biases and norms are not
            decayed. BERT clips gradients too: ``Trainer(gradient_clip_val=1.0)``.
        lr_scaling, final_lr: see :class:`~sslbolts.methods.text.base.TextModule`.
        warmup_epochs: epochs of linear rise, a hundredth of the paper's 40.
        counts: how often each word occurs, the sentence end first; None takes those of the DataModule.
        compile_backbone: run the encoder through ``torch.compile``.

    Raises:
        UsageError: for a value out of its range, or a vocabulary that is too small; when training starts, for pieces of
            text longer than ``max_length``.

    Source: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL 2019,
    arXiv:1810.04805. The official code draws masks ten times, before training; here each step draws its own. Its tokens
    are parts of words, and here they are what the DataModule says.

    Example:
        >>> method = MaskedLanguageModel(dim=16, depth=1, heads=2, max_length=10, counts=[3, 5, 4, 2])
        >>> method(torch.tensor([[1, 2, 0, 3, -1]])).shape
        torch.Size([1, 16])
    """

    embedding = "head"
    parts: Tensor
    predictions: Tensor
    indicators = (
        Indicator(
            metric="train/loss_of_frequencies",
            above=1.2,
            meaning="words are predicted worse than by how often each occurs",
            fixes=("a smaller learning rate", "a longer warm-up", "more epochs"),
        ),
    )

    def __init__(
        self,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        max_length: int = 512,
        dropout: float = 0.1,
        init_std: float = 0.02,
        mask_probability: float = 0.15,
        max_predictions: int = 20,
        whole_words: bool = False,
        optimizer: OptimizerCallable = lambda params: BertAdam(params, lr=1e-4, weight_decay=0.01),
        lr_scaling: LRScaling = "none",
        warmup_epochs: float = 0.4,
        final_lr: float = 0.0,
        counts: Sequence[int] | None = None,
        compile_backbone: bool = False,
    ) -> None:
        whole(dim=dim, depth=depth, heads=heads, max_predictions=max_predictions)
        whole(3, max_length=max_length)
        positive(mlp_ratio=mlp_ratio, init_std=init_std, mask_probability=mask_probability)
        fraction(dropout=dropout, mask_probability=mask_probability)
        shape = {"dim": dim, "depth": depth, "heads": heads, "mlp_ratio": mlp_ratio}
        start = {"dropout": dropout, "init_std": init_std}
        encoder = TextEncoder(**shape, max_length=max_length, **start)  # type: ignore[arg-type]
        super().__init__(encoder, optimizer, lr_scaling, warmup_epochs, final_lr, compile_backbone=compile_backbone)
        self.whole_words = whole_words
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim, eps=1e-12))
        self.head.apply(partial(start_as_bert, std=init_std))
        self.bias = nn.Parameter(torch.zeros(0))
        most = [
            0 if n == 0 else number_of_predictions(n, probability=mask_probability, most=max_predictions)
            for n in range(max_length + 1)
        ]
        self.register_buffer("predictions", torch.tensor(most), persistent=False)  # of a text of each length
        self.register_buffer("parts", torch.zeros(0, dtype=torch.bool), persistent=False)
        self.most = most
        if counts is not None:
            self.take_vocabulary(counts)

    def training_step(self, batch: TextBatch, batch_idx: int) -> Tensor:  # type: ignore[override]  # no views
        masked, seen = self.mask(batch.ids, self.generator(batch_idx, device=batch.ids.device))
        logits = self.predict_words(masked, seen)  # (B, P, V)
        loss = masked_tokens(logits, masked.labels, masked.weights)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.ids))
        self.log("train/masked_accuracy", self.accuracy(logits, masked), batch_size=len(batch.ids))
        self.log("train/loss_of_frequencies", loss.detach() / self.entropy(), batch_size=len(batch.ids))
        return loss

    def mask(self, ids: Tensor, draws: torch.Generator) -> tuple[MaskedText, Tensor]:
        """Pieces of text ``(B, L)`` between [CLS] and [SEP], with words hidden; and where there is a token."""
        tokens, seen = self.tokens(ids)  # (B, L + 2)
        words = len(self.counts)
        masked = random_masks(
            tokens,
            tokens < words,
            self.predictions[seen.sum(1)],
            generator=draws,
            most=max(self.most[: tokens.shape[1] + 1]),
            mask_id=words + _SPECIAL.index("[MASK]"),
            num_words=words + len(_SPECIAL),
            parts=self.parts[tokens] if self.whole_words else None,
        )
        return masked, seen

    def tokens(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Pieces of text between [CLS] and [SEP], [PAD] behind: ``(B, L + 2)``; and where there is a token."""
        cls, sep, _, pad = range(len(self.counts), len(self.counts) + len(_SPECIAL))
        lengths = (ids >= 0).sum(1, keepdim=True)
        words = F.pad(torch.where(ids >= 0, ids, pad), (0, 1), value=pad)
        words = words.scatter(1, lengths, sep)
        tokens = F.pad(words, (1, 0), value=cls)
        return tokens, tokens != pad

    def predict_words(self, masked: MaskedText, seen: Tensor) -> Tensor:
        """Logits ``(B, P, V)`` of the hidden words."""
        tokens = self.backbone(masked.ids, seen)  # (B, L, D)
        places = masked.positions[..., None].expand(-1, -1, tokens.shape[2])
        return F.linear(self.head(tokens.gather(1, places)), self._table(), self.bias)

    @staticmethod
    def accuracy(logits: Tensor, masked: MaskedText) -> Tensor:
        """The share of hidden words that are found."""
        right = (logits.argmax(2) == masked.labels) & masked.weights
        return right.sum() / masked.weights.sum().clamp(min=1)

    def entropy(self) -> Tensor:
        """The loss of predicting by how often each word occurs."""
        share = self.counts.float() / self.counts.sum()
        return -(share * share.clamp(min=1e-12).log()).sum()

    def forward(self, x: Tensor) -> Tensor:
        """The [CLS] token ``(B, D)`` of pieces of text ``(B, L)``."""
        features: Tensor = self.backbone(*self.tokens(x))[:, 0]
        return features

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Loss and accuracy on other text, with the same masks at every epoch; and features for the monitors."""
        ids = batch[0]
        masked, seen = self.mask(ids, generator(0, batch_idx, device=ids.device))
        logits = self.predict_words(masked, seen)
        values = {"loss": masked_tokens(logits, masked.labels, masked.weights)}
        values["masked_accuracy"] = self.accuracy(logits, masked)
        for name, value in values.items():
            synced = {"sync_dist": world_size() > 1, "add_dataloader_idx": False}
            self.log(f"val/{name}", value, batch_size=len(ids), **synced)
        return {"features": self(ids)}

    test_step = validation_step

    def word_vectors(self) -> Tensor:
        return self._table()[: len(self.counts)]

    def resize(self, words: int) -> None:
        encoder: Any = self.backbone
        encoder.resize(words + len(_SPECIAL))
        self.bias = nn.Parameter(torch.zeros(words + len(_SPECIAL)))
        self.parts = torch.zeros(words + len(_SPECIAL), dtype=torch.bool)

    def take_vocabulary(self, counts: Tensor | Sequence[int], words: Sequence[str] = ()) -> "MaskedLanguageModel":
        super().take_vocabulary(counts, words)
        parts = [word.startswith("##") for word in self.words] or [False] * len(self.counts)
        self.parts = torch.tensor([*parts, *[False] * len(_SPECIAL)], device=self.counts.device)
        return self

    def check_batch(self, batch: Any) -> None:
        super().check_batch(batch)
        length, encoder = batch.ids.shape[1], self.backbone
        if length + 2 > encoder.max_length:  # type: ignore[operator]
            raise UsageError(
                f"pieces of {length} words need {length + 2} positions, with the marks at both ends, and there are "
                f"max_length={encoder.max_length}: give a larger max_length, or the DataModule "
                f"sequence_length={encoder.max_length - 2}."  # type: ignore[operator]
            )

    def _table(self) -> Tensor:
        encoder: Any = self.backbone
        table: Tensor = encoder.words.weight
        return table
