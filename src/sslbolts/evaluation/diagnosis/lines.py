"""The tables of a diagnosis: the geometry of features and of embeddings, and what was done to images."""

from sslbolts.evaluation.result import Result, format_metric

__all__ = ["distortion_lines", "geometry_lines", "metric_in_words"]

_LINES = {
    "knn/top1": ("20 nearest neighbors", "more"),
    "knn/auc": ("20 nearest neighbors, area under the ROC curve", "more, up to 1; chance is 0.5"),
    "class_separation": ("class separation R²", "more, up to 1"),
    "clusters/purity": ("k-means: purity", "more, up to 1"),
    "clusters/nmi": ("k-means: mutual information (NMI)", "more, up to 1"),
    "clusters/ari": ("k-means: adjusted Rand index", "more, up to 1; chance is 0"),
    "clusters/top1": ("k-means: accuracy of matched clusters", "more"),
    "rankme": ("RankMe, dimensions", "more, up to the width"),
    "effective_rank": ("effective rank of the covariance, dimensions", "more, up to the width"),
    "alignment": ("alignment of two views", "less; 0 is equal"),
    "uniformity": ("uniformity", "less; 0 is a single point"),
}


def geometry_lines(result: Result) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of what lies where, for features ``h`` and, where there is one, embeddings ``g(h)``.

    Example:
        >>> geometry_lines(Result("diagnose", "x.ckpt", "CIFAR10", {"h/rankme": 31.26}, {"h": "backbone"}))
        (['', 'h', 'better is'], [['RankMe, dimensions', '31.26', 'more, up to the width']])
    """
    readers = _readers(result)
    rows = [
        [line, *(_shown(result.metrics, f"{reader}/{name}") for reader in readers), better]
        for name, (line, better) in _LINES.items()
        if any(f"{reader}/{name}" in result.metrics for reader in readers)
    ]
    return ["", *readers, "better is"], rows


def distortion_lines(result: Result) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of what a linear classifier reads of the distortion of an image."""
    readers = ["random guess", *_readers(result)]
    rows = [
        [str(row["what"]), *(_shown(row, f"{reader}/top1") for reader in readers)]
        for row in result.rows
        if "what" in row
    ]
    return ["What was done to an image, as a linear classifier reads it", *readers], rows


def metric_in_words(metric: str) -> str:
    """A number of a diagnosis in words, where it is in the table; else its name.

    Example:
        >>> metric_in_words("h/rankme"), metric_in_words("g(h)/knn/top1"), metric_in_words("h/other")
        ('h: RankMe, dimensions', 'g(h): 20 nearest neighbors', 'h/other')
    """
    reader, _, name = metric.partition("/")
    return f"{reader}: {_LINES[name][0]}" if name in _LINES else metric


def _readers(result: Result) -> list[str]:
    return [name for name in ("h", "g(h)") if name in result.settings]


def _shown(numbers: dict[str, float], name: str) -> str:
    return format_metric(name, numbers[name]) if name in numbers else ""
