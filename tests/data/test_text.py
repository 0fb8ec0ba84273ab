"""Text of one's own: its words, their vocabulary, the pieces, and files that are no text."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.batch import TextBatch
from sslbolts.data import TextDataModule

SMALL = {"sequence_length": 4, "batch_size": 2, "min_count": 1, "val_fraction": 0.0, "seed": 0}


def text(tmp_path, *contents, **settings):
    files = []
    for number, content in enumerate(contents):
        files.append(str(tmp_path / f"{number}.txt"))
        (tmp_path / f"{number}.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return TextDataModule(files, **SMALL | settings)


def test_words_are_sorted_by_how_often_they_occur_behind_the_sentence_end(tmp_path):
    data = text(tmp_path, "The cat, the dog and THE bird. A dog!\n\nA cat", min_count=2)
    assert data.vocabulary.words == ["</s>", "the", "a", "cat", "dog"]  # among equals by the alphabet
    assert data.vocabulary.counts.tolist() == [3, 3, 2, 2, 2]
    assert data.rows("train").flatten().tolist() == [1, 3, 1, 4, 1, 0, 2, 4, 0, 2, 3, 0]


def test_rare_words_may_be_one_entry_which_is_the_last(tmp_path):
    data = text(tmp_path, "a a b. a c", min_count=2, rare="unknown")
    assert data.vocabulary.words == ["</s>", "a", "[UNK]"]
    assert data.vocabulary.counts.tolist() == [2, 3, 2]
    assert data.rows("train").flatten().tolist() == [1, 1, 2, 0, 1, 2, 0, -1]


def test_a_divided_text_is_taken_as_it_is(tmp_path):
    data = text(tmp_path, "Play ##ing .\nplay", split="whitespace", lowercase=False)
    assert data.vocabulary.words == ["</s>", "##ing", ".", "Play", "play"]
    assert data.rows("train").flatten().tolist() == [3, 1, 2, 0, 4, 0, -1, -1]


def test_several_files_are_one_text_and_sentences_end_with_each(tmp_path):
    data = text(tmp_path, "a b", "b a")
    assert data.rows("train").flatten().tolist() == [1, 2, 0, 2, 1, 0, -1, -1]


def test_the_end_of_the_text_is_for_validation_and_is_not_counted(tmp_path):
    data = text(tmp_path, "a b " * 8 + "c c c c", val_fraction=0.2)
    assert data.vocabulary.words[1:] == ["a", "b", "c"]
    assert data.vocabulary.counts.sum() == 17  # of 20 words and the end
    assert data.rows("val").flatten().tolist() == [3, 3, 3, 0]
    batch = next(iter(data.val_dataloader()))
    assert isinstance(batch, TextBatch)
    assert batch.ids.tolist() == [[3, 3, 3, 0]]
    assert (batch.targets.tolist(), batch.indices.tolist()) == ([-1], [0])


def test_an_epoch_has_every_piece_once_in_an_order_of_its_own(tmp_path):
    data = text(tmp_path, "a b c d e f g " * 7 + "a b c d e f")
    loader = data.train_dataloader()
    orders = []
    for number in range(2):
        loader.sampler.set_epoch(number)
        batches = list(loader)
        assert all(torch.equal(batch.ids, data.rows("train")[batch.indices]) for batch in batches)
        orders.append(torch.cat([batch.indices for batch in batches]).tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(14))
    assert orders[0] != orders[1] != list(range(14))
    again = text(tmp_path, "a b c d e f g " * 7 + "a b c d e f").train_dataloader()
    assert torch.cat([batch.indices for batch in again]).tolist() == orders[0]


def test_the_packaged_text_is_read():
    data = TextDataModule(min_count=1)
    assert {"alice", "rabbit", "mouse", "dinah"} <= set(data.vocabulary.words)
    assert 5_500 < data.vocabulary.counts.sum() + (data.rows("val") >= 0).sum() < 6_500


@pytest.mark.parametrize(
    ("contents", "settings", "words"),
    [
        (["", "  \n"], {}, "0 different words occur min_count=1 times or more, and two are needed"),
        (["a b c"], {"min_count": 2}, "0 different words occur min_count=2 times or more"),
        (["a a a"], {}, "1 different words occur min_count=1"),
        ([b"\x89PNG\r\n\x1a\n"], {}, r"0\.txt is no text in UTF-8 \(byte 0x89 at 0\): give a plain text file"),
        ([b"abc\0\0"], {}, "is no text .it holds zero bytes"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, contents, settings, words):
    with pytest.raises(UsageError, match=words):
        _ = text(tmp_path, *contents, **settings).vocabulary


def test_a_folder_and_an_empty_list_are_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        _ = TextDataModule(str(tmp_path)).vocabulary
    with pytest.raises(UsageError, match="files is empty"):
        TextDataModule([])


def test_a_text_of_fewer_pieces_than_a_batch_is_refused(tmp_path):
    with pytest.raises(UsageError, match="has 2 pieces of sequence_length=4 words, and a batch takes 8"):
        text(tmp_path, "a b c d e f g", batch_size=8).train_dataloader()
    assert len(text(tmp_path, "a b c d e f g", batch_size=8, drop_last=False).train_dataloader()) == 1


@pytest.mark.parametrize(
    "wrong", [{"split": "letters"}, {"rare": "keep"}, {"min_count": 0}, {"val_fraction": 1.0}, {"sequence_length": 0}]
)
def test_wrong_arguments(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TextDataModule(**wrong)
