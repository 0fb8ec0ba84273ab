"""word2vec: its start, what is compared with what, the program's step, the vocabulary, and the nearest words."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam

from sslbolts import UsageError, Word2Vec
from sslbolts.callbacks import NearestWords
from sslbolts.data import CIFAR10MiniDataModule, TextDataModule
from sslbolts.evaluation import load_encoder
from sslbolts.losses import negative_sampling
from sslbolts.losses.text import compared_words
from sslbolts.methods.text.sampling import drawn_words, keep_probability, noise_distribution, thinned, windows
from tests.helpers.texts import RandomWords, words_loader
from tests.helpers.trainers import quiet_trainer
from tests.invariants.text_cases import text_case

COUNTS = torch.tensor(RandomWords.counts)


def plain(lr: float = 0.05) -> Any:
    return lambda params: SGD(params, lr=lr)


def test_it_starts_as_the_program():
    torch.manual_seed(0)
    method = Word2Vec(dim=10, counts=list(range(1000, 0, -1)))
    assert 0.0499 < method.word_vectors().abs().max() <= 0.05
    assert method.word_vectors().mean().abs() < 0.001
    assert not method.output_vectors.weight.any()


def test_words_that_do_not_occur_keep_their_start():
    method = Word2Vec(dim=4, counts=[*RandomWords.counts, 3, 2, 1], subsampling=0.0, optimizer=plain())
    before = method.word_vectors().detach().clone()
    quiet_trainer(max_epochs=2).fit(method, words_loader(16, 8))
    same = (method.word_vectors() == before).all(1)
    assert same.nonzero().flatten().tolist() == [0, 20, 21, 22]  # the sentence end, and those behind the text's words


def test_rare_words_always_stay():
    keep = keep_probability(torch.tensor([900.0, 90.0, 9.0, 1.0]), 0.01)
    assert keep[2:].tolist() == [1, 1]
    assert keep[0].item() == pytest.approx((0.01 / 0.9) ** 0.5 + 0.01 / 0.9)
    assert keep_probability(COUNTS.float(), 0).unique().tolist() == [1]


def test_words_are_thinned_before_windows_are_laid():
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(-1, 6, (7, 15), generator=draw)
    keep = torch.rand(7, 15, generator=draw) < 0.6
    radius = torch.randint(1, 4, (7, 15), generator=draw)
    words, sentences = thinned(ids, keep)
    found = windows(words, sentences, radius, 3)
    for row in range(7):
        staying, sentence = [], 0
        for word, stays in zip(ids[row].tolist(), keep[row].tolist()):
            sentence += word == 0
            if stays and word > 0:
                staying.append((word, sentence))
        assert words[row].tolist() == [word for word, _ in staying] + [-1] * (15 - len(staying))
        for place in range(15):
            expected = []
            for step in (-3, -2, -1, 1, 2, 3):
                other, near = place + step, abs(step) <= radius[row, place]
                there = near and place < len(staying) and 0 <= other < len(staying)
                expected.append(staying[other][0] if there and staying[other][1] == staying[place][1] else -1)
            assert found[row, place].tolist() == expected


def test_negatives_follow_the_noise_and_are_never_the_sentence_end():
    draw = torch.Generator().manual_seed(0)
    noise = noise_distribution(COUNTS.float())
    drawn = drawn_words(*torch.rand(2, 200_000, generator=draw), noise)
    found = torch.bincount(drawn, minlength=20) / 200_000
    assert found[0] == 0
    torch.testing.assert_close(found[1:], noise[1:] + noise[0] / 19, atol=0.003, rtol=0)
    ends = drawn_words(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]), noise)
    assert ends.tolist() == [19, 19]


def test_the_negatives_of_a_step_follow_the_counts_to_the_power_of_three_quarters():
    """Mikolov et al., arXiv:1310.4546, section 2.2; the end of a sentence, which is never drawn, is shared out."""
    counts = torch.tensor([100, 8000, 4000, 1000, 100])
    method = Word2Vec(dim=4, counts=counts.tolist(), window=2, negatives=5, subsampling=0.0)
    draws = torch.Generator().manual_seed(0)
    words = method.draw_groups(torch.randint(1, 5, (200, 50), generator=draws), draws).words[:, 1:]
    found = words.flatten().bincount(minlength=5) / words.numel()
    weights = counts.double() ** 0.75
    expected = (weights / weights.sum()).float()
    torch.testing.assert_close(found[1:], expected[1:] + expected[0] / 4, atol=0.005, rtol=0)


def test_a_negative_that_is_the_target_and_a_group_without_context_do_not_count():
    words = torch.tensor([[3, 4, 3, 4], [3, 5, 6, 7]])
    present = torch.tensor([[True, False], [False, False]])
    assert compared_words(words, present).tolist() == [[True, True, False, True], [False] * 4]


def test_groups_of_a_batch_add_up_and_the_published_step_gives_each_context_word_the_whole_error():
    draw = torch.Generator().manual_seed(0)
    contexts = torch.randn(5, 3, 4, generator=draw, dtype=torch.float64).requires_grad_()
    outputs = torch.randn(5, 4, 4, generator=draw, dtype=torch.float64).requires_grad_()
    words = torch.randint(1, 5, (5, 4), generator=draw)
    present = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=torch.bool)
    rows = (contexts, outputs)

    def gradients(some: slice, **update: Any) -> tuple[Any, ...]:
        loss = negative_sampling(contexts[some], outputs[some], words[some], present[some], **update)
        return loss.detach(), *torch.autograd.grad(loss, rows)

    for update in ({}, {"update": "published", "lr": 0.1}):
        alone = [gradients(slice(n, n + 1), **update) for n in range(5)]
        for together, parts in zip(gradients(slice(None), **update), zip(*alone)):
            torch.testing.assert_close(together, sum(parts))
    true, published = gradients(slice(None))[1], gradients(slice(None), update="published", lr=0.0)[1]
    torch.testing.assert_close(published, true * present.sum(1)[:, None, None])


def test_the_learning_rate_falls_in_a_line_to_its_floor():
    method = Word2Vec(counts=RandomWords.counts)
    factors = [method.lr_factor(step, total=10, warmup=0) for step in range(11)]
    assert factors == pytest.approx([1 - step / 10 for step in range(10)] + [1e-4])


@pytest.mark.parametrize("update", ["gradient", "published"])
def test_cbow_tells_two_disjoint_vocabularies_apart(update):
    case = text_case("Word2Vec")
    case = replace(case, learning={**case.learning, "mode": "cbow", "update": update, "optimizer": plain()})
    before, after = case.untrained_and_trained(seed=0)
    assert after > before + 0.3


def test_a_checkpoint_knows_the_words(tmp_path):
    data = TextDataModule(sequence_length=32, batch_size=16, min_count=10)
    trainer = quiet_trainer(max_epochs=1, limit_val_batches=0)
    trainer.fit(method := Word2Vec(dim=8), data)
    trainer.save_checkpoint(tmp_path / "words.ckpt")
    again = Word2Vec.load_from_checkpoint(tmp_path / "words.ckpt")
    assert again.words == data.vocabulary.words
    assert torch.equal(again.counts, data.vocabulary.counts)
    assert again.nearest_words(["alice", "the"], 3) == method.nearest_words(["alice", "the"], 3)
    with pytest.raises(UsageError, match="the text has another one"):
        quiet_trainer(max_epochs=2).fit(Word2Vec(dim=8), TextDataModule(min_count=5), ckpt_path=tmp_path / "words.ckpt")
    with pytest.raises(UsageError, match="Word2Vec learns from text"):
        load_encoder(tmp_path / "words.ckpt")
    with pytest.raises(UsageError, match="the text has another one"):
        quiet_trainer(max_epochs=2).fit(again, TextDataModule(min_count=5))


def test_nearest_words_are_the_others_by_their_cosine():
    method = Word2Vec(dim=2, counts=[5, 4, 3, 2])
    method.take_vocabulary([5, 4, 3, 2], ["</s>", "up", "upper", "down"])
    method.backbone.weight.data = torch.tensor([[0.0, 9.0], [0.0, 1.0], [0.6, 0.8], [0.0, -2.0]])
    (found,) = method.nearest_words(["up"], 5)
    assert [word for word, _ in found] == ["upper", "down"]
    assert [cosine for _, cosine in found] == pytest.approx([0.8, -1.0])
    with pytest.raises(UsageError, match=r'"uper" is not in the vocabulary\. Did you mean "upper"'):
        method.nearest_words(["uper"])
    assert method(torch.tensor([[1, 0, 3, -1], [0, -1, -1, -1]])).tolist() == [[0.0, -0.5], [0.0, 0.0]]


def test_nearest_words_are_drawn_at_validation(tmp_path):
    data = TextDataModule(sequence_length=32, batch_size=16, min_count=10)
    picture = NearestWords(["alice", "she"], every_n_epochs=1, folder=tmp_path)
    trainer = quiet_trainer(max_epochs=2, callbacks=[picture])
    trainer.fit(Word2Vec(dim=8), data)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["nearest_words-epoch0001.png", "nearest_words-epoch0002.png"]
    for words, message in ((["queen"], '"queen" is not in the vocabulary'), ([], "words"), ("alice", "give a list")):
        with pytest.raises(UsageError, match=message):
            quiet_trainer(max_epochs=1, callbacks=[NearestWords(words)]).fit(Word2Vec(dim=8), data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"counts": [5, 4]}, "its vocabulary has 1 beside the end of a sentence"),
        ({"counts": [5, 4, 0]}, "that must occur"),
        ({"update": "published", "optimizer": lambda params: SGD(params, lr=0.1, momentum=0.9)}, "momentum=0.9"),
        ({"update": "published", "optimizer": lambda params: Adam(params)}, "plain SGD, and the optimizer is Adam"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(UsageError, match=words):
        Word2Vec(**arguments)


def test_images_are_refused():
    with pytest.raises(UsageError, match="learns from text"):
        quiet_trainer(max_epochs=1).fit(Word2Vec(), CIFAR10MiniDataModule(num_workers=0))
    with pytest.raises(UsageError, match="got a ViewBatch: use TextDataModule"):
        quiet_trainer(max_epochs=1).fit(Word2Vec(counts=[3, 2, 1]), CIFAR10MiniDataModule(num_workers=0))


def test_protocols_for_images_refuse_it():
    with pytest.raises(UsageError, match="Word2Vec learns from text, and what is measured here is features of images"):
        load_encoder(Word2Vec(counts=[3, 2, 1]))
