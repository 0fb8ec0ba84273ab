"""What curves and neighbor sheets show, read from the figures."""

from itertools import pairwise

import pytest
import torch

from sslbolts.errors import UsageError
from sslbolts.pictures.curves import draw_curves
from sslbolts.pictures.neighbors import draw_neighbors, nearest_beside_pixels
from sslbolts.pictures.style import save


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.xaxis.label)]


def test_curves_are_in_percent_and_carry_their_last_value():
    figure = draw_curves([(0.5, 5.0), (1.0, 4.0)], {"kNN-20": [(1, 0.3), (2, 0.412)]}, {"raw pixels": 0.376})
    loss, accuracy = figure.axes
    assert loss.lines[0].get_ydata().tolist() == [5.0, 4.0]
    assert accuracy.lines[0].get_ydata() == pytest.approx([30.0, 41.2])
    assert {"kNN-20  41.2", "raw pixels  37.6"} <= set(texts(figure))
    assert (loss.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "accuracy (%)")


def test_labels_of_close_curves_do_not_overlap():
    close = {name: [(1, 0.40 + 0.001 * i)] for i, name in enumerate("abc")}
    axes = draw_curves([(1, 1.0)], close, {"raw pixels": 0.2}).axes[1]
    heights = sorted(text.xy[1] for text in axes.texts)
    low, high = axes.get_ylim()
    assert min(b - a for a, b in pairwise(heights)) >= 0.99 * (high - low) / 18


def test_nothing_to_draw_is_refused():
    with pytest.raises(UsageError, match="nothing to draw"):
        draw_curves([], {}, {})


def test_neighbors_of_another_class_are_named_and_counted(tmp_path):
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    labels = torch.tensor([0, 0, 1, 1])
    found = {"SimCLR": torch.tensor([[1, 2], [2, 3]]), "raw pixels": torch.tensor([[1, 0], [0, 1]])}
    queries = torch.tensor([0, 2])
    figure = draw_neighbors(images[queries], labels[queries], images, labels, found, class_names=("cat", "dog"))
    assert len(figure.axes) == 2 * (1 + 2 + 2)
    shown = texts(figure)
    assert any(text.startswith("75 %") for text in shown)  # three of SimCLR's four
    assert any(text.startswith("50 %") for text in shown)  # two of raw pixels' four
    assert shown.count("cat") == 1 + 2  # the first query, and raw pixels' neighbors of the second
    assert save(figure, tmp_path / "folder" / "sheet.png").stat().st_size > 1000


def test_neighbors_that_do_not_fit_the_queries_are_refused():
    images, labels = torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(UsageError, match="neighbors of 3 queries"):
        draw_neighbors(images, labels, images, labels, {"SimCLR": torch.zeros(2, 4, dtype=torch.int64)})


def test_raw_pixels_are_compared_without_their_mean_image():
    pixels = torch.tensor([[200, 100], [100, 200], [60, 60]], dtype=torch.uint8)  # their mean is (120, 120)
    query, features = torch.tensor([[90.0, 60.0]]), torch.eye(3)
    found = nearest_beside_pixels("SimCLR", features[1:2], features, 5, query_pixels=query, bank_pixels=pixels)
    assert list(found) == ["SimCLR", "raw pixels"]
    assert found["SimCLR"][0, 0] == 1
    assert found["SimCLR"].shape == (1, 3)  # no more than the bank has
    # (-30, -60) against (80, -20), (-20, 80) and (-60, -60): cosines -.22, -.76, .95; with the mean .99, .87, .98.
    assert found["raw pixels"].tolist() == [[2, 0, 1]]
