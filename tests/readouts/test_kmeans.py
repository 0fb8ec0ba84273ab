"""k-means and PCA-whitening against loops, against scikit-learn, and over two ranks."""

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from sslbolts import UsageError
from sslbolts.distributed import rank
from sslbolts.readouts.kmeans import kmeans, shard
from sslbolts.readouts.pca_whitening import pca_whiten
from tests.golden import naive_losses as naive


def _blobs(rows: int = 300, dim: int = 6, centers: int = 5) -> torch.Tensor:
    middle = 4 * torch.randn(centers, dim, dtype=torch.float64)
    return middle[torch.arange(rows) % centers] + torch.randn(rows, dim, dtype=torch.float64)


def test_euclidean_kmeans_equals_scikit_learns_from_the_same_start():
    x = _blobs()
    ours = kmeans(x, 5, iterations=20, init=x[:5], empty="keep")
    theirs = KMeans(5, init=x[:5].numpy(), n_init=1, max_iter=20, tol=0, algorithm="lloyd").fit(x.numpy())
    torch.testing.assert_close(ours.centroids, torch.from_numpy(theirs.cluster_centers_))
    assert ours.assignments.tolist() == theirs.labels_.tolist()
    assert ours.sizes.tolist() == torch.bincount(ours.assignments, minlength=5).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spherical_kmeans_equals_the_loop(dtype):
    x = torch.nn.functional.normalize(torch.randn(30, 4, dtype=torch.float64))
    centroids, assignments = naive.spherical_kmeans(x.tolist(), x[:6].tolist(), 4)
    lengths = torch.arange(1, 31, dtype=dtype)[:, None]  # count for nothing, in rows and in first centroids
    rows = lengths * x.to(dtype)
    ours = kmeans(rows, 6, iterations=4, spherical=True, init=rows[:6], empty="keep")
    assert ours.centroids.dtype == dtype
    torch.testing.assert_close(ours.centroids, torch.tensor(centroids, dtype=dtype))
    assert ours.assignments.tolist() == assignments


def test_rows_in_chunks_are_rows_in_one(monkeypatch):
    x = _blobs()
    whole = kmeans(x, 7, init=x[:7])
    monkeypatch.setattr("sslbolts.readouts.kmeans._NUMBERS_AT_ONCE", 7 * 11)
    chunked = kmeans(x, 7, init=x[:7])
    torch.testing.assert_close(chunked.centroids, whole.centroids)
    assert torch.equal(chunked.assignments, whole.assignments)


def test_the_start_is_drawn_from_the_generator_alone():
    x = _blobs()
    state = torch.get_rng_state()
    first, second, third = (kmeans(x, 8, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.centroids, second.centroids)
    assert not torch.equal(first.centroids, third.centroids)


def test_an_empty_cluster_keeps_its_centroid_or_takes_half_of_the_largest():
    x = torch.cat([torch.randn(60, 2), torch.tensor([[50.0, 50.0]])])
    far = torch.tensor([[0.0, 0.0], [50.0, 50.0], [-1000.0, 1000.0]])
    kept = kmeans(x, 3, iterations=5, init=far, empty="keep")
    assert kept.sizes.tolist() == [60, 1, 0]
    assert kept.centroids[2].tolist() == [-1000.0, 1000.0]
    split = kmeans(x, 3, iterations=5, init=far)
    assert split.sizes[1] == 1
    assert min(split.sizes.tolist()) > 0
    assert split.sizes.sum() == 61


def test_equal_rows_leave_clusters_empty_and_everything_finite():
    for spherical in (False, True):
        found = kmeans(torch.zeros(9, 3), 4, generator=torch.Generator().manual_seed(0), spherical=spherical)
        assert found.centroids.isfinite().all()
        assert found.sizes.sum() == 9


def test_autocast_does_not_reach_the_distances():
    x = _blobs().float()
    expected = kmeans(x, 5, init=x[:5])
    with torch.autocast("cpu", torch.bfloat16):
        found = kmeans(x, 5, init=x[:5])
    assert torch.equal(found.centroids, expected.centroids)


def test_whitening_equals_scikit_learns_up_to_signs():
    x = _blobs() @ torch.randn(6, 6, dtype=torch.float64)
    ours = pca_whiten(x, 4)(x)
    theirs = torch.from_numpy(PCA(4, whiten=True, svd_solver="full").fit_transform(x.numpy()))
    # scikit-learn divides by N - 1.
    torch.testing.assert_close(ours.abs(), theirs.abs() * (300 / 299) ** 0.5)


def test_whitening_does_not_blow_up_constant_features():
    x = torch.randn(50, 4)
    x[:, 2] = 3
    x[:, 3] = x[:, 0]
    white = pca_whiten(x, 4)(x)
    assert white.isfinite().all()
    assert white.abs().max() < 10


def _rank_shares(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(rank())  # the ranks' own generators differ
    uneven = x[:200] if rank() == 0 else x[200:]
    euclidean = kmeans(uneven, 9, generator=torch.Generator().manual_seed(3))
    spherical = kmeans(shard(x), 9, generator=torch.Generator().manual_seed(3), spherical=True)
    none = kmeans(x if rank() == 1 else x[:0], 9, generator=torch.Generator().manual_seed(3))
    map_ = pca_whiten(uneven, 3)
    return euclidean.centroids, euclidean.assignments, spherical.centroids, none.centroids, map_.mean, map_.projection


def test_two_ranks_find_what_one_process_finds(two_ranks):
    x = _blobs()
    first, second = two_ranks(_rank_shares, x)
    alone = kmeans(x, 9, generator=torch.Generator().manual_seed(3))
    directions = kmeans(x, 9, generator=torch.Generator().manual_seed(3), spherical=True)
    whitening = pca_whiten(x, 3)
    assert torch.equal(torch.cat([first[1], second[1]]), alone.assignments)
    for index in (0, 2, 3, 4, 5):
        assert torch.equal(first[index], second[index])
    for found, expected in zip(first[2:], (directions.centroids, alone.centroids, whitening.mean), strict=False):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(first[5].abs(), whitening.projection.abs())


def test_wrong_arguments_are_named():
    x = torch.randn(5, 2)
    with pytest.raises(UsageError, match="5 rows cannot be 6 clusters"):
        kmeans(x, 6, generator=torch.Generator())
    with pytest.raises(UsageError, match="give one of them"):
        kmeans(x, 2)
    with pytest.raises(UsageError, match="init has shape"):
        kmeans(x, 2, init=x)
    with pytest.raises(UsageError, match="principal components"):
        pca_whiten(x, 3)
