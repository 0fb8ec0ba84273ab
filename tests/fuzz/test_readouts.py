"""Readouts of any features against naive loops: votes, accuracies, agreement of clusters, shape of a representation."""

import math
import warnings

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sslbolts import readouts
from sslbolts.callbacks.shared.accuracies import accuracies
from sslbolts.callbacks.shared.linear_heads import LinearHeads
from sslbolts.checks import is_number
from sslbolts.errors import UsageError
from sslbolts.readouts.auc import area_under_roc
from sslbolts.readouts.kmeans import kmeans
from sslbolts.readouts.logistic import fit_logistic
from sslbolts.readouts.pca_whitening import pca_whiten
from tests.fuzz.drawn import float_types, labels, rows, seeds, wild

sizes = st.tuples(st.integers(1, 12), st.integers(1, 30), st.integers(1, 6), st.integers(1, 5))  # N, M, D, classes
scales = st.sampled_from([1e-4, 1.0, 1e4])


def _bank(size, seed, scale=1.0, dtype=torch.float32):
    queries, bank_rows, width, classes = size
    bank_labels = labels(seed, bank_rows, classes)
    bank_labels[0] = max(0, int(bank_labels[0]))  # at least one has a label
    x = rows(seed, queries, width, scale=scale, dtype=dtype)
    return x, rows(seed + 1, bank_rows, width, scale=scale, dtype=dtype), bank_labels


def _naive_votes(query, bank, bank_labels, k, temperature, classes):
    """Least and most votes of every class by the definition: the cosine to every labeled row, and the first `k` vote.

    Of rows whose cosines are equal, but for rounding, any may be among them.
    """
    cosines = []
    for row, label in zip(bank.double().tolist(), bank_labels.tolist()):
        if label >= 0:
            size = math.hypot(*row) * math.hypot(*query)
            cosines.append((sum(a * b for a, b in zip(row, query)) / size if size else 0.0, label))
    cosines.sort(reverse=True)
    voters = min(k, len(cosines))
    last = cosines[voters - 1][0]
    places = voters - sum(cosine > last + 1e-6 for cosine, _ in cosines)
    least, most = [0.0] * classes, [0.0] * classes
    for label in range(classes):
        sure = sum(math.exp(c / temperature) for c, of in cosines if of == label and c > last + 1e-6)
        tied = [of == label for c, of in cosines if abs(c - last) <= 1e-6]
        forced = max(0, places - tied.count(False))
        least[label] = sure + forced * math.exp(last / temperature)
        most[label] = sure + min(places, tied.count(True)) * math.exp(last / temperature)
    return least, most


@given(sizes, st.integers(1, 40), st.sampled_from([0.07, 0.5, 3.0]), scales, float_types, seeds)
def test_knn_votes(size, k, temperature, scale, dtype, seed):
    x, bank, bank_labels = _bank(size, seed, scale, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of k beyond the bank
        found = readouts.knn_predict(x, bank, bank_labels, k=k, temperature=temperature, num_classes=size[3])
        several = readouts.knn_predict(x, bank, bank_labels, k=[k, 1], temperature=temperature, num_classes=size[3])
    assert found.shape == (size[0], size[3])
    assert torch.equal(several[0], found)
    for query, votes in zip(x.double().tolist(), found.tolist()):
        least, most = _naive_votes(query, bank, bank_labels, k, temperature, size[3])
        for low, vote, high in zip(least, votes, most):
            assert low * 0.999 - 1e-4 <= vote <= high * 1.001 + 1e-4


@given(sizes, st.lists(st.integers(1, 20), min_size=1, max_size=3), st.booleans(), float_types, seeds)
def test_accuracies_are_shares_of_right_queries(size, ks, broken, dtype, seed):
    x, bank, bank_labels = _bank(size, seed, dtype=dtype)
    y = labels(seed + 2, size[0], size[3], unlabeled=False)
    if broken:
        x[0, 0] = float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = accuracies(x, y, bank, bank_labels, k=ks, temperature=0.07, ridge=True)
    for k, accuracy in zip(ks, found):
        right = perhaps = 0
        for query, label in zip(x.double().tolist(), y.tolist()):
            if not all(map(math.isfinite, query)):
                continue  # what is not finite is never right
            least, most = _naive_votes(query, bank, bank_labels, k, 0.07, size[3])
            others = [votes for votes in range(size[3]) if votes != label]
            right += all(least[label] > 1.001 * most[other] for other in others)
            perhaps += all(1.001 * most[label] >= least[other] for other in others)
        assert right / len(x) - 1e-6 <= accuracy <= perhaps / len(x) + 1e-6
    assert len(found) == len(ks) + 1
    assert all(0 <= accuracy <= 1 for accuracy in found)


@given(sizes, st.lists(wild, min_size=1, max_size=3), seeds)
def test_penalties_are_refused_or_used(size, penalties, seed):
    x, bank, bank_labels = _bank(size, seed)
    try:
        found = readouts.ridge_classifier(x, bank, bank_labels, penalties=penalties)
    except UsageError as error:
        assert "penalties" in str(error)
        return
    assert found.penalty in penalties
    assert 0 <= found.bank_accuracy <= 1


@given(st.tuples(st.integers(1, 5), st.integers(4, 14), st.integers(1, 4), st.integers(1, 3)), seeds)
def test_leave_one_out_of_ridge_is_what_leaving_one_out_gives(size, seed):
    x, bank, bank_labels = _bank(size, seed, dtype=torch.float64)
    bank_labels = bank_labels.clamp(min=0)
    penalty = 0.1
    found = readouts.ridge_classifier(x, bank, bank_labels, penalties=[penalty], num_classes=size[3])
    std = bank.std(0, correction=0)
    z = (bank - bank.mean(0)) / torch.where(std > 0, std, 1.0)
    one_hot = torch.nn.functional.one_hot(bank_labels, size[3]).double()
    z1 = torch.cat([z, torch.ones(len(z), 1)], 1)
    shrink = penalty * len(z) * torch.eye(z1.shape[1], dtype=torch.float64)
    shrink[-1, -1] = 0  # the constant is not shrunk
    right = 0.0
    for row in range(len(z)):
        others = torch.arange(len(z)) != row
        weight = torch.linalg.solve(z1[others].T @ z1[others] + shrink, z1[others].T @ one_hot[others])
        scores = z1[row] @ weight
        best = scores.topk(min(2, len(scores))).values
        assume(len(best) < 2 or best[0] - best[1] > 1e-6)  # ties go either way
        right += float(scores.argmax() == bank_labels[row])
    assert found.bank_accuracy == pytest.approx(right / len(z))


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 5), seeds)
def test_agreement_of_clusters(count, clusters, classes, seed):
    a, b = labels(seed, count, clusters), labels(seed + 1, count, classes)
    assume(bool(((a >= 0) & (b >= 0)).any()))
    for measure in (readouts.purity, readouts.normalized_mutual_information, readouts.matched_accuracy):
        assert -1e-6 <= float(measure(a, b)) <= 1 + 1e-6
    assert -1 - 1e-6 <= float(readouts.adjusted_rand_index(a, b)) <= 1 + 1e-6
    assert float(readouts.adjusted_rand_index(a, a)) == pytest.approx(1)
    renamed = torch.where(a >= 0, clusters - 1 - a, -1)
    for measure in (readouts.normalized_mutual_information, readouts.adjusted_rand_index, readouts.matched_accuracy):
        assert float(measure(renamed, b)) == pytest.approx(float(measure(a, b)), abs=1e-6)
    pairs = [(x, y) for x, y in zip(a.tolist(), b.tolist()) if x >= 0 and y >= 0]
    most = sum(max(sum(p == (c, t) for p in pairs) for t in range(classes)) for c in range(clusters))
    assert float(readouts.purity(a, b)) == pytest.approx(most / len(pairs), abs=1e-6)


@given(st.integers(2, 20), st.integers(1, 8), st.sampled_from([0.0, 1e-4, 1.0, 1e4]), float_types, seeds)
def test_shape_of_a_representation(count, width, scale, dtype, seed):
    x = rows(seed, count, width, scale=scale).to(dtype)
    most = min(count, width)
    assert 0 <= float(readouts.normalized_std(x)) <= (count / (count - 1)) ** 0.5 + 1e-4
    assert 0 <= float(readouts.effective_rank(x)) <= most + 1e-3
    assert 0.999 <= float(readouts.rankme(x)) <= most + 1e-3 or scale == 0
    assert -8 - 1e-4 <= float(readouts.uniformity(x)) <= 1e-4
    other = rows(seed + 1, count, width).to(dtype)
    assert 0 <= float(readouts.alignment(x, other)) <= 4 + 1e-4
    assert float(readouts.alignment(x, x)) == pytest.approx(0, abs=1e-6)
    y = labels(seed, count, 3)
    if bool((y >= 0).any()):
        assert -1e-4 <= float(readouts.class_separation(x, y)) <= 1 + 1e-4


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 6), st.integers(0, 4), st.booleans(), scales, seeds)
def test_kmeans(count, width, k, iterations, spherical, scale, seed):
    x = rows(seed, count, width, scale=scale)
    x[: count // 2] = x[0].clone()  # some rows are equal
    try:
        found = kmeans(x, k, iterations=iterations, spherical=spherical, generator=torch.Generator().manual_seed(seed))
    except UsageError as error:
        assert f"{count} rows cannot be {k} clusters" in str(error)
        assert not 1 <= k <= count
        return
    assert found.centroids.isfinite().all()
    assert torch.equal(found.sizes, found.assignments.bincount(minlength=k))
    for row, assigned in zip(x, found.assignments.tolist()):
        distances = [-float(c @ row) if spherical else float((c - row).square().sum()) for c in found.centroids]
        assert distances[assigned] <= min(distances) + 1e-4 * max(1.0, scale**2)


@given(st.integers(1, 25), st.booleans(), seeds)
def test_area_under_roc_is_the_share_of_right_pairs(count, coarse, seed):
    scores = rows(seed, count).round() if coarse else rows(seed, count)
    targets = labels(seed, count, 2)
    found = area_under_roc(scores, targets)
    yes, no = ([s for s, t in zip(scores.tolist(), targets.tolist()) if t == which] for which in (1, 0))
    if found is None:
        assert not yes or not no
        return
    pairs = [(a > b) + (a == b) / 2 for a in yes for b in no]
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 6), scales, float_types, seeds)
def test_whitened_features(count, width, dim, scale, dtype, seed):
    x = rows(seed, count, width, scale=scale, dtype=dtype)
    try:
        white = pca_whiten(x, dim)(x)
    except UsageError as error:
        assert f"{dim} principal components" in str(error)
        assert dim > width
        return
    assert white.shape == (count, dim)
    assert white.isfinite().all()
    assert float(white.double().square().mean(0).max()) <= 1.01


@given(st.integers(1, 20), st.integers(1, 4), st.integers(2, 4), st.booleans(), st.sampled_from([0.0, 1.0]), seeds)
def test_heads_of_the_online_probe_stay_finite(count, width, classes, broken, decay, seed):
    device = torch.device("cpu")
    heads = LinearHeads(width, classes, (0.01, 0.1), weight_decay=decay, device=device)
    x, y = rows(seed, count, width, scale=100.0), labels(seed, count, classes + 1)  # one label is of no class
    if broken:
        x[seed % count] = float("inf")
    for _ in range(3):
        labeled, *right, used, beyond = heads.step(x, y).tolist()
    assert all(0 <= hits <= used for hits in right)
    assert labeled == int(((y >= 0) & (y < classes)).sum())
    assert beyond == int((y == classes).sum())
    assert heads.weight.isfinite().all()
    assert heads.mean.isfinite().all()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    again = LinearHeads(width, classes, (0.01, 0.1), weight_decay=decay, device=device)
    for _ in range(3):
        again.step(x[order], y[order])
    torch.testing.assert_close(again.weight, heads.weight, rtol=1e-3, atol=1e-4)


@given(st.integers(2, 12), st.integers(1, 4), st.integers(2, 3), st.lists(wild, min_size=1, max_size=2), seeds)
def test_logistic_regression(count, width, classes, penalties, seed):
    assume(not any(is_number(penalty) and penalty > 1e6 for penalty in penalties))  # L-BFGS overflows
    x, y = rows(seed, count, width), labels(seed, count, classes)
    assume(bool((y >= 0).any()))
    try:
        found = fit_logistic(x, y, penalties=penalties, num_classes=classes, max_iter=5)
    except UsageError as error:
        assert "penalties" in str(error)
        return
    assert len(found) == len(penalties)
    assert all(fit.scores(x).isfinite().all() for fit in found)
