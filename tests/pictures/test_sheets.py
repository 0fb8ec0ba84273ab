"""Neighbors, projections and clusters against scikit-learn, and what sheets say in words."""

import os

import pytest
import torch
from matplotlib.text import Text
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from sslbolts.errors import UsageError
from sslbolts.pictures.attention import draw_attention
from sslbolts.pictures.clusters import cluster_directions, draw_clusters
from sslbolts.pictures.confusion import draw_confusion
from sslbolts.pictures.curves import draw_curves
from sslbolts.pictures.embedding import draw_embedding
from sslbolts.pictures.neighbors import choose_queries, draw_neighbors, nearest
from sslbolts.pictures.projections import project
from sslbolts.pictures.reconstructions import draw_reconstructions
from sslbolts.pictures.style import save


def words(figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_nearest_is_scikit_learns(monkeypatch):
    monkeypatch.setattr("sslbolts.pictures.neighbors._ROWS_AT_ONCE", 7)
    queries, bank = torch.randn(5, 6), torch.randn(50, 6)
    expected = NearestNeighbors(n_neighbors=4, metric="cosine").fit(bank).kneighbors(queries, return_distance=False)
    assert nearest(queries, bank, 4).tolist() == expected.tolist()


def test_queries_are_of_different_classes_where_there_are_different_ones():
    targets = torch.tensor([3, 3, 3, 1, 1, 0, -1, 3])
    assert choose_queries(targets, 4).tolist() == [6, 5, 3, 0]
    assert sorted(choose_queries(targets, 6).tolist()) == [0, 1, 3, 4, 5, 6]
    assert choose_queries(torch.full((9,), -1), 3).tolist() == [0, 3, 6]  # of photos in a row, not the first
    assert len(choose_queries(targets, 100)) == len(targets)


def test_principal_components_are_scikit_learns_up_to_sign():
    features = torch.randn(40, 7) @ torch.randn(7, 7)
    expected = torch.as_tensor(PCA(2).fit_transform(features))
    torch.testing.assert_close(project(features).abs(), expected.abs().float(), rtol=1e-3, atol=1e-4)
    assert project(torch.randn(6, 1)).shape == (6, 2)


def test_tsne_keeps_groups_together_and_no_random_state_moves():
    import numpy as np

    features = torch.cat([torch.randn(20, 5) + 20, torch.randn(20, 5) - 20])
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    plane = project(features, "tsne")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert torch.equal(plane, project(features, "tsne"))
    distances = torch.cdist(plane, plane) + 1e9 * torch.eye(40)
    assert ((distances.argmin(1) < 20) == (torch.arange(40) < 20)).all()


def test_a_projection_without_its_package_is_named(monkeypatch):
    monkeypatch.setattr("sslbolts.pictures.projections.available_projections", lambda: ("pca",))
    with pytest.raises(UsageError, match="pip install umap-learn"):
        project(torch.randn(5, 3), "umap")
    with pytest.raises(UsageError, match='Did you mean "tsne"'):
        project(torch.randn(5, 3), "tsn")


def test_clusters_of_separated_groups_are_scikit_learns():
    centers = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]])
    features = centers.repeat_interleave(15, 0) + torch.randn(45, 3, generator=torch.Generator().manual_seed(0))
    x = F.normalize(features - features.mean(0))
    expected = KMeans(3, n_init=10, random_state=0).fit_predict(x)
    assert adjusted_rand_score(expected, cluster_directions(features, 3)) == 1


def test_features_that_are_not_finite_are_named_and_never_nearest():
    features = torch.randn(10, 4)
    features[3, 1], features[7, 0] = torch.nan, torch.inf
    for compute in (project, lambda x: project(x, "tsne"), lambda x: cluster_directions(x, 2)):
        with pytest.raises(UsageError, match="features of 2 of 10 images are NaN or infinite"):
            compute(features)
    assert nearest(torch.randn(2, 4), features, 8).sort().values.tolist() == [[0, 1, 2, 4, 5, 6, 8, 9]] * 2


def test_the_cluster_sheet_says_purity_and_names():
    images, features = torch.rand(6, 3, 8, 8), torch.randn(6, 4)
    targets, clusters = torch.tensor([0, 0, 1, 1, 1, -1]), torch.tensor([5, 5, 5, 7, 7, 7])
    said = words(draw_clusters(images, features, targets, clusters, columns=2, class_names=["cat", "dog"]))
    assert "purity 80.0 %" in said  # two cats of three, two dogs of two; the last one has no label
    assert "100 % dog" in said
    assert "67 % cat" in said
    assert "33 % dog" in said


def test_a_sheet_of_unlabeled_neighbors_has_no_frames_and_no_legend():
    images, none = torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.tensor([-1, -1, -1])
    rows = {"Net": torch.tensor([[1, 2]])}
    said = words(draw_neighbors(images[:1], none[:1], images, none, rows, class_names=["first", "last"]))
    assert "frame" not in said
    assert "last" not in said


def test_the_share_of_right_neighbors_leaves_out_what_has_no_label():
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    rows = {"Net": torch.tensor([[0, 1, 2, 3]])}
    said = words(draw_neighbors(images[:1], torch.tensor([1]), images, torch.tensor([1, 1, 0, -1]), rows))
    assert "67 % of these neighbors" in said


def test_the_legend_of_an_embedding_names_every_class_once_and_lumps_the_rare_ones_together():
    targets = torch.cat([torch.arange(30).repeat(2), torch.tensor([-1, 0])])
    figure = draw_embedding(
        {"pca": torch.rand(62, 2), "tsne": torch.rand(62, 2)}, targets, class_names=[f"class {c}" for c in range(30)]
    )
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == len(set(names)) == 25
    assert "6 other classes and no label" in names
    assert "PCA" in words(figure)
    assert "t-SNE" in words(figure)


@pytest.mark.parametrize("name", ["$x^{$", os.fsdecode(b"_$a$ \\$1 caf\xe9")])
def test_names_of_classes_are_drawn_letter_by_letter(name, tmp_path):
    """Folders may be called anything: no formula, no error, and no name left out."""
    images, targets = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1])
    names, pairs = [name, "dog"], torch.tensor([[1, 2]] * 4)
    title = f"of {name}"
    figures = [
        draw_neighbors(images, targets, images, targets, {name: pairs}, class_names=names, title=title),
        draw_embedding({"pca": torch.rand(4, 2)}, targets, class_names=names, title=title),
        draw_clusters(images, torch.rand(4, 3), targets, torch.tensor([0, 0, 1, 1]), class_names=names, title=title),
        draw_attention(images, torch.rand(4, 2, 2, 2), labels=[name] * 4, title=title),
        draw_confusion(torch.eye(2).long(), class_names=names, title=title),
        draw_reconstructions(images, images, images, labels=[name] * 4, title=title),
        draw_curves([(0, 1.0)], {name: [(0, 0.5)]}, {}, title=title),
    ]
    letters = name.encode("utf-8", "replace").decode()
    for number, figure in enumerate(figures):
        save(figure, tmp_path / f"{number}.png", dpi=20)
        for text in figure.findobj(Text):
            _, formula = text._preprocess_math(text.get_text())
            assert not formula
        shown = [text._preprocess_math(text.get_text())[0] for text in figure.findobj(Text)]
        assert sum(letters in text for text in shown) >= 2, number  # in the title, and where the class is
