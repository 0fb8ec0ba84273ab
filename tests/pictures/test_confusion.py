"""The picture of the confusions says what the matrix says."""

import pytest
import torch

from sslbolts import UsageError
from sslbolts.pictures.confusion import draw_confusion
from sslbolts.pictures.style import save


def numbers(figure):
    """``{(row, column): text}`` of the first axes."""
    return {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in figure.axes[0].texts}


def test_rows_are_true_classes_in_percent_of_their_images(tmp_path):
    matrix = torch.tensor([[30, 10, 0], [0, 0, 0], [1, 0, 499]])
    figure = draw_confusion(matrix, class_names=["airplane", "cat", "dog"], title="kNN")
    assert numbers(figure) == {(0, 0): "75", (0, 1): "25", (2, 2): "100"}  # 0.2 % is not written, nor a class of none
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["airplane", "cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert figure._suptitle.get_text() == "kNN"
    assert axes.get_title("left") == "98.0 % of 540 images are right; mean over the classes 87.4 %"
    assert "%" in figure.axes[1].get_ylabel()
    assert save(figure, tmp_path / "confusion.png").stat().st_size > 5000


@pytest.mark.parametrize("classes", [2, 40, 100])
def test_any_number_of_classes_fits(classes, tmp_path):
    figure = draw_confusion(torch.eye(classes).long())
    assert bool(figure.axes[0].texts) == (classes <= 25)
    assert max(figure.get_size_inches()) < 14
    save(figure, tmp_path / "confusion.png")


def test_what_is_no_confusion_matrix_is_refused():
    with pytest.raises(UsageError, match="square"):
        draw_confusion(torch.zeros(2, 3))
    with pytest.raises(UsageError, match="3 names for 2 classes"):
        draw_confusion(torch.zeros(2, 2), class_names=["a", "b", "c"])
