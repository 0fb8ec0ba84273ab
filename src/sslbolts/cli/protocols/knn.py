"""``sslbolts evaluate knn``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbolts.evaluation import Encoder, Result

__all__ = ["add_options", "evaluate"]


def add_options(parser: Any) -> None:
    """The sweep."""
    from sslbolts.evaluation.nearest import KNN_KS, KNN_TEMPERATURES

    parser.add_argument("--k", type=int, nargs="+", default=list(KNN_KS), help="numbers of neighbours")
    parser.add_argument(
        "--temperature", type=float, nargs="+", default=list(KNN_TEMPERATURES), help="of the cosine's votes; inf: equal"
    )
    parser.add_argument("--metric", type=str, nargs="+", default=["cosine", "euclidean"], help="cosine, euclidean")


def evaluate(encoder: "Encoder", data: Any, config: Any) -> "Result":
    """Nearest neighbours."""
    from sslbolts.evaluation import evaluate_knn

    return evaluate_knn(
        encoder,
        data,
        ks=config.k,
        temperatures=config.temperature,
        metrics=config.metric,
        seed=config.seed,
        cache=config.cache,
    )
