"""A classifier from few labels: 1 %, 10 %, or n images of every class, listed in a file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbolts._lightning import rank_zero_warn
from sslbolts.checks import one_of, whole, write_text
from sslbolts.data.labels import keep_labels, keep_share, read_rows
from sslbolts.errors import UsageError
from sslbolts.evaluation.accuracy import accuracies
from sslbolts.evaluation.encoder import Encoder, choose_device
from sslbolts.evaluation.features import EncodedData, EvaluationData
from sslbolts.evaluation.fine_tuning.run import evaluate_finetune
from sslbolts.evaluation.probes.on_features import probe_on_features
from sslbolts.evaluation.probes.settings import probe_settings
from sslbolts.evaluation.result import Found, Result
from sslbolts.evaluation.splits import Splits, labeled_splits, training_targets
from sslbolts.readouts.logistic import fit_logistic
from sslbolts.training.seeds import generator

__all__ = [
    "evaluate_few_label",
    "few_label_rows",
    "listed_rows",
    "logistic_on_features",
    "on_few_features",
    "read_rows",
    "write_rows",
]

_CLASSIFIERS = ("logistic", "linear", "finetune")
_PENALTIES = tuple(10.0**exponent for exponent in range(-4, 2))  # per image
_FOLDS = 5
_FOLD_DRAWS = 3  # beside a seed, for draws of their own


def evaluate_few_label(
    encoder: Encoder,
    data: EvaluationData,
    *,
    test: EvaluationData | None = None,
    fraction: float | None = None,
    per_class: int | None = None,
    rows: Tensor | str | Path | None = None,
    rows_file: str | Path | None = None,
    classifier: str = "logistic",
    settings: str | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    **changes: Any,
) -> Result:
    """A classifier from few labeled training images, measured on all test images.

    Args:
        encoder: see :func:`sslbolts.evaluation.load_encoder`.
        data: a DataModule, or a dataset or loader of training images, which then needs ``test``.
        test: test images.
        fraction: of every class, in (0, 1]; at least one image of each.
        per_class: how many images of every class. One of ``fraction``, ``per_class`` and ``rows`` is needed.
        rows: the labeled images themselves: rows of the training data set, or a file of :func:`write_rows`.
        rows_file: where the rows are listed; None lists them only beside the result, when that is saved.
        classifier: "logistic": l2-regularized logistic regression on frozen features, its penalty chosen by
            cross-validation on the labeled images; "linear": a probe by ``settings``, on features; "finetune": the
            whole network by ``settings``.
        settings: for "linear", a name of :data:`~sslbolts.evaluation.probes.settings.PROBE_SETTINGS`, by default
            "features"; for "finetune", of :data:`~sslbolts.evaluation.fine_tuning.settings.FINE_TUNE_SETTINGS`, by
            default "auto".
        seed: of the images and of all that is drawn.
        cache: folder of features.
        **changes: values in place of theirs.

    Raises:
        UsageError: for a value out of its range, or a class with too few images.

    Source: the protocol of 1 % and 10 % is that of Chen et al., SimCLR, ICML 2020, arXiv:2002.05709, section 6.
    """
    one_of(_CLASSIFIERS, classifier=classifier)
    if sum(given is not None for given in (fraction, per_class, rows)) != 1:
        raise UsageError("which labels? Give one of fraction=, per_class= and rows= (the indices of a file).")
    if classifier == "logistic" and (settings or changes):
        raise UsageError('classifier="logistic" has no settings: leave them out, or give "linear" or "finetune".')
    listed = read_rows(rows) if isinstance(rows, str | Path) else rows
    subject = EncodedData(encoder, data, test=test, cache=cache)

    if classifier == "finetune":
        targets = training_targets(subject.module)
        chosen = (
            few_label_rows(targets, fraction=fraction, per_class=per_class, seed=seed) if listed is None else listed
        )
        _check_rows(chosen, torch.arange(len(targets)))
        result = evaluate_finetune(encoder, data, settings=settings or "auto", rows=chosen, seed=seed, **changes)
    else:
        splits = labeled_splits(subject)
        if listed is None:
            chosen = splits.indices[few_label_rows(splits.y, fraction=fraction, per_class=per_class, seed=seed)]
        else:
            chosen = listed
            _check_rows(chosen, splits.indices)
        found = on_few_features(
            splits, chosen, classifier=classifier, settings=settings, seed=seed, device=encoder.device, **changes
        )
        result = subject.result("few-label", found.metrics, splits.settings | found.settings, found.rows)

    what, word = _described(fraction, per_class, len(chosen))
    where, notes = "", list(result.notes)
    if rows_file is not None:
        try:
            where = f", listed in {write_rows(rows_file, chosen, what=what, seed=seed)}"
        except UsageError as error:  # the numbers are there, and are not to be lost
            rank_zero_warn(str(error))
            notes.append(str(error))
    ending = "" if classifier == "logistic" else f"-{classifier}"
    return replace(
        result,
        protocol=f"few-label-{word}{ending}",
        settings={"labels": f"{what}, seed {seed}{where}", "classifier": classifier, **result.settings},
        notes=notes,
        beside={} if isinstance(rows, str | Path) else {".txt": listed_rows(chosen, what=what, seed=seed)},
    )


def on_few_features(
    splits: Splits,
    rows: Tensor,
    *,
    classifier: str = "logistic",
    settings: str | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    **changes: Any,
) -> Found:
    """A classifier on features of which only a few have labels.

    Args:
        splits: features of all training images, and of those that decide.
        rows: the labeled ones, as ``splits.indices`` has them.
        classifier: "logistic" or "linear", see :func:`evaluate_few_label`.
        settings: of "linear".
        seed: of all that is drawn.
        device: where it is computed.
        **changes: values in place of the settings' own.
    """
    few = torch.isin(splits.indices, rows)
    mean, std = splits.x.mean(0), splits.x.std(0, correction=0)
    std = torch.where(std > 0, std, 1.0)
    small = replace(
        splits,
        x=(splits.x[few] - mean) / std,
        y=splits.y[few],
        test_x=(splits.test_x - mean) / std,
        indices=splits.indices[few],
    )
    if classifier == "logistic":
        found = logistic_on_features(small, seed=seed, device=device)
    else:
        named = probe_settings(settings or "features", **changes)
        found = probe_on_features(small, named, seed=seed, device=device)
    stated = {
        "images": f"labeled ones of {len(splits.x):,}, judged on {len(splits.test_x):,}",
        "standardized": "by mean and deviation of all training features, which needs no labels",
    }
    return found._replace(settings=found.settings | stated)


def few_label_rows(
    targets: Tensor, *, fraction: float | None = None, per_class: int | None = None, seed: int = 0
) -> Tensor:
    """A few rows of every class, drawn at random.

    Args:
        targets: labels ``(N,)``, -1 for a row that has none.
        fraction: of every class, in (0, 1], rounded; at least one row of each.
        per_class: rows of every class.
        seed: of the draw.

    Returns:
        Rows in ascending order.

    Raises:
        UsageError: for a value out of its range, or a class with fewer rows.

    Example:
        >>> targets = torch.arange(40) % 2
        >>> len(few_label_rows(targets, per_class=3)), len(few_label_rows(targets, fraction=0.1))
        (6, 4)
    """
    if (fraction is None) == (per_class is None):
        raise UsageError("give one of fraction= and per_class=.")
    whole(per_class=per_class)
    if per_class is not None:
        return (keep_labels(targets, per_class, seed=seed) >= 0).nonzero().squeeze(1)
    assert fraction is not None
    if not 0 < fraction <= 1:
        raise UsageError(f"fraction={fraction}: it is a share of every class, in (0, 1].")
    return (keep_share(targets, fraction, seed=seed) >= 0).nonzero().squeeze(1)


def write_rows(path: str | Path, rows: Tensor, *, what: str = "", seed: int | None = None) -> Path:
    """List rows of a data set in a text file, one per line, after a line that says what they are.

    Args:
        path: file to write; its folder is made.
        rows: ``(n,)``.
        what: what they are.
        seed: with which they were drawn.

    Raises:
        UsageError: names the file, if it cannot be written.
    """
    return write_text(path, listed_rows(rows, what=what, seed=seed))


def listed_rows(rows: Tensor, *, what: str, seed: int | None) -> str:
    """The text of :func:`write_rows`."""
    drawn = "" if seed is None else f", drawn with seed {seed}"
    lines = [f"# rows of the training data set: {what}{drawn}", *map(str, rows.tolist())]
    return "\n".join(lines) + "\n"


def logistic_on_features(
    splits: Splits,
    *,
    penalties: Sequence[float] = _PENALTIES,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Found:
    """Logistic regression, its penalty chosen by stratified five-fold cross-validation on the training images.

    The only image of a class is in every training part and tests nothing.

    Args:
        splits: labeled features, of one scale.
        penalties: candidates, on half the squared weights and per training image; the larger of equals is chosen.
        seed: of the folds.
        device: where it is computed.
    """
    home = choose_device(device)
    x, y = splits.x.to(home), splits.y.to(home)
    grid = sorted(penalties, reverse=True)
    rows: list[dict[str, Any]] = []
    penalty, chosen = 0.01, "fixed: classes with one labeled image each leave nothing to choose on"
    fold = _folds(splits.y, seed).to(home)
    folds = int(fold.max()) + 1
    if folds > 1:
        right = torch.zeros(len(grid), dtype=torch.float64)
        for which in range(folds):
            inside = fold != which
            scaled = [value * int(inside.sum()) for value in grid]
            # A choice needs no more digits than this.
            fits = fit_logistic(x[inside], y[inside], scaled, num_classes=splits.num_classes, tolerance=1e-4)
            right += torch.tensor([float((fit.scores(x[~inside]).argmax(1) == y[~inside]).sum()) for fit in fits])
        tested = int((fold >= 0).sum())
        shares = (right / tested).tolist()
        rows = [{"penalty": value, "cross-validated top1": share} for value, share in zip(grid, shares)]
        penalty = grid[shares.index(max(shares))]
        alone = f", the {len(y) - tested} without a second of their class always trained on" if tested < len(y) else ""
        chosen = (
            f"of {len(grid)}, by {folds}-fold cross-validation on the labeled images{alone} "
            f"({100 * max(shares):.2f} % right)"
        )
    fit = fit_logistic(x, y, [penalty * len(y)], num_classes=splits.num_classes)[0]
    settings = {"penalty per image": penalty, "penalty chosen": f"{chosen}; seed {seed}"}
    return Found(accuracies(fit.scores(splits.test_x.to(home)), splits.test_y), settings, rows)


def _folds(targets: Tensor, seed: int) -> Tensor:
    """A fold for every row, each with its share of every class; -1 for the only row of a class.

    There are five, or as many as the largest class has rows. The rows of a class go on where the last class ended, so
    that small classes do not crowd the first folds.
    """
    sizes = torch.bincount(targets)  # type: ignore[no-untyped-call]
    count = min(_FOLDS, int(sizes.max()))
    fold = torch.full_like(targets, -1)
    start = 0
    for label in (sizes > 1).nonzero().squeeze(1).tolist():
        rows = (targets == label).nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=generator(seed, _FOLD_DRAWS, label, count))
        fold[rows[order]] = (start + torch.arange(len(rows))) % count
        start += len(rows)
    return fold


def _check_rows(rows: Tensor, known: Tensor) -> None:
    missing = rows[~torch.isin(rows, known)]
    if len(missing):
        raise UsageError(
            f"row {int(missing[0])} of the list is no labeled training image: the list is of another data set."
        )


def _described(fraction: float | None, per_class: int | None, count: int) -> tuple[str, str]:
    if fraction is not None:
        return f"{100 * fraction:g} % of every class, {count} images", f"{100 * fraction:g}pct"
    if per_class is not None:
        return f"{per_class} of every class, {count} images", f"{per_class}-per-class"
    return f"{count} images of a list", "listed"
