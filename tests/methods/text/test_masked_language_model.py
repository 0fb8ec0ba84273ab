"""BERT's masks, encoder, optimizer, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from sslbolts import MaskedLanguageModel, UsageError
from sslbolts.losses import masked_tokens
from sslbolts.methods.text.masking import number_of_predictions, random_masks
from sslbolts.optim import BertAdam
from tests.helpers.texts import RandomWords, words_loader
from tests.helpers.trainers import quiet_trainer


def small(**arguments: Any) -> MaskedLanguageModel:
    shape = {"dim": 16, "depth": 2, "heads": 2, "max_length": 16, "dropout": 0.0, "counts": RandomWords.counts}
    return MaskedLanguageModel(**shape | arguments)


def masks(rows: int = 4000, length: int = 20, **settings: Any) -> tuple[torch.Tensor, Any]:
    """Texts of words 10 to 29 between 30 and 31, of a vocabulary of 40; [MASK] is 32."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 30, (rows, length), generator=draw)
    ids[:, 0], ids[:, -1] = 30, 31
    counts = torch.full((rows,), number_of_predictions(length))
    some = {"most": 20, "mask_id": 32, "num_words": 40}
    return ids, random_masks(ids, ids < 30, counts, generator=draw, **some | settings)


def test_of_ten_words_eight_become_mask_one_stays_and_one_is_any():
    ids, found = masks()
    assert found.weights.sum(1).unique().tolist() == [3]
    shown = found.ids.gather(1, found.positions)[found.weights]
    labels = found.labels[found.weights]
    n = len(labels)
    masked, same = (shown == 32) & (labels != 32), shown == labels
    # A tenth of the words becomes any of 40 tokens: [MASK] and the true one are among them.
    expected = {"masked": 0.8 + 0.1 / 40, "same": 0.1 + 0.1 / 40, "other": 0.1 * 38 / 40}
    for name, part in (("masked", masked), ("same", same), ("other", ~masked & ~same)):
        error = (expected[name] * (1 - expected[name]) / n) ** 0.5
        assert abs(part.float().mean().item() - expected[name]) < 4 * error, name
    others = shown[~masked & ~same]
    assert set(others.unique().tolist()) == set(range(40)) - {32}  # special ones too
    hidden = torch.zeros_like(ids, dtype=torch.bool).scatter(1, found.positions, found.weights)
    assert torch.equal(found.ids[~hidden], ids[~hidden])


def test_marks_are_never_predicted_and_every_word_equally_often():
    _, found = masks()
    places = torch.bincount(found.positions[found.weights], minlength=20)
    assert places[0] == places[-1] == 0
    assert (places[1:-1].float() / (3 * 4000 / 18) - 1).abs().max() < 0.15
    assert (found.labels[found.weights] < 30).all()


def test_short_texts_have_fewer_predictions_and_padding_none():
    method = small()
    ids = torch.full((3, 12), -1)
    ids[0, :12], ids[1, :5], ids[2, :1] = 5, 6, 7
    masked, seen = method.mask(ids, torch.Generator().manual_seed(0))
    assert seen.sum(1).tolist() == [14, 7, 3]
    assert masked.weights.sum(1).tolist() == [2, 1, 1]  # of .15 times those
    tokens, _ = method.tokens(ids)
    assert tokens[2].tolist() == [20, 7, 21, *[23] * 11]
    assert torch.equal(masked.labels[masked.weights], torch.tensor([5, 5, 6, 7]))


def test_words_are_hidden_with_their_parts():
    parts = torch.zeros(500, 20, dtype=torch.bool)
    draw = torch.Generator().manual_seed(3)
    parts[:, 2:-1] = torch.rand(500, 17, generator=draw) < 0.5
    _, found = masks(500, parts=parts)
    hidden = torch.zeros(500, 20, dtype=torch.bool).scatter(1, found.positions, found.weights)
    for row, (chosen, continues) in enumerate(zip(hidden.tolist(), parts.tolist())):
        assert sum(chosen) <= 3, row
        for place in range(2, 19):
            if continues[place]:
                assert chosen[place] == chosen[place - 1], (row, place)
    assert hidden.sum() > 1200  # of 1500: a word that would be too much is passed over


def test_whole_words_are_known_by_their_sign():
    method = small(counts=[4, 3, 2, 1], whole_words=True)
    method.take_vocabulary([4, 3, 2, 1], ["</s>", "play", "##ing", "##s"])
    assert method.parts.tolist() == [False, False, True, True, *[False] * 4]


def test_the_loss_and_its_gradient_are_of_the_hidden_words_alone():
    logits = torch.randn(2, 3, 7, requires_grad=True)
    weights = torch.tensor([[1, 0, 1], [0, 0, 1]])
    masked_tokens(logits, torch.randint(7, (2, 3)), weights).backward()
    assert torch.equal(logits.grad.abs().sum(2) > 0, weights.bool())


def test_it_has_the_size_of_bert_base():
    with torch.device("meta"):
        method = MaskedLanguageModel()
        method.backbone.resize(30522)
    block = 4 * (768 * 768 + 768) + 2 * 4 * 768 * 768 + 4 * 768 + 768 + 4 * 768
    embeddings = 30522 * 768 + 512 * 768 + 2 * 768
    assert sum(p.numel() for p in method.backbone.parameters()) == embeddings + 12 * block == 108_890_112
    assert sum(p.numel() for p in method.head.parameters()) == 768 * 768 + 768 + 2 * 768


def test_it_starts_as_bert():
    torch.manual_seed(0)
    method = small(dim=64, counts=list(range(500, 0, -1)))
    matrices = [p for p in method.parameters() if p.dim() == 2]
    assert len(matrices) == 2 + 2 * 4 + 1
    for p in matrices:
        assert p.abs().max() <= 0.04
        assert 0.016 < p.std() < 0.019  # .88 of the deviation is left of the normal numbers
    assert all(not m.bias.any() for m in method.modules() if isinstance(m, nn.Linear))
    assert not method.bias.any()


def test_the_output_has_the_vectors_of_the_words_for_its_weights():
    method = small()
    masked, seen = method.mask(next(iter(words_loader(4, 4))).ids, torch.Generator().manual_seed(0))
    before = method.predict_words(masked, seen)
    method.bias.data[3] += 1
    torch.testing.assert_close(method.predict_words(masked, seen)[..., 3], before[..., 3] + 1)
    assert before.shape[-1] == len(method.backbone.words.weight) == 24
    assert torch.equal(method.word_vectors(), method.backbone.words.weight[:20])


def test_padding_changes_nothing():
    method = small().eval()
    ids = torch.tensor([[3, 5, 2, 0, 7]])
    padded = torch.cat([ids, torch.full((1, 6), -1)], dim=1)
    torch.testing.assert_close(method(ids), method(padded))


def test_the_optimizer_is_adam_without_bias_correction():
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=draw, dtype=torch.float64)
    weight, expected = nn.Parameter(start.clone()), start.clone()
    optimizer = BertAdam([weight], lr=0.01, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1)
    mean, square = torch.zeros_like(start), torch.zeros_like(start)
    for _ in range(4):
        gradient = torch.randn(5, 3, generator=draw, dtype=torch.float64)
        weight.grad = gradient
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        expected = expected - 0.01 * (mean / (square.sqrt() + 1e-6) + 0.1 * expected)
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-12, atol=1e-12)


def test_norms_and_biases_are_not_decayed_and_words_are():
    decayed, exempt = small().parameter_groups()
    assert all(p.dim() == 1 for p in exempt["params"])
    assert exempt["weight_decay"] == 0.0
    assert all(p.dim() == 2 for p in decayed["params"])


def test_the_learning_rate_rises_and_falls_over_the_whole_run():
    factors = [small().lr_factor(step, total=1_000_000, warmup=10_000) for step in (0, 5_000, 10_000, 1_000_000)]
    assert factors == pytest.approx([0, 0.5, 0.99, 0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"heads": 3}, "heads=3 must divide dim=16"),
        ({"counts": [3, 2]}, "its vocabulary has 1 beside"),
        ({"mask_probability": 0.0}, "mask_probability=0.0"),
        ({"max_length": 2}, "max_length=2"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(UsageError, match=words):
        small(**arguments)


def test_texts_longer_than_the_positions_are_refused():
    with pytest.raises(UsageError, match=r"12 words need 14 positions.*max_length=13.*sequence_length=11"):
        quiet_trainer(max_epochs=1).fit(small(max_length=13), words_loader(8, 4))
