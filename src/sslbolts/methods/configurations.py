"""The configurations that come with the package, by name."""

import re
from itertools import takewhile
from pathlib import Path

from sslbolts.errors import UsageError, did_you_mean

__all__ = ["FOLDER", "configuration", "first_sentence", "names"]

FOLDER = Path(__file__).parents[1] / "configs"
"""``configs/`` of the repository, and its copy in an installed package."""


def names() -> list[str]:
    """Names of the configurations, sorted.

    Example:
        >>> "simclr_cifar10" in names()
        True
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def configuration(name: str) -> Path:
    """The file of a configuration.

    Args:
        name: one of :func:`names`, with or without ``.yaml``.

    Raises:
        UsageError: for a name that there is not.

    Example:
        >>> configuration("simclr_cifar10").name
        'simclr_cifar10.yaml'
    """
    known = names()
    name = name.removesuffix(".yaml")
    if name not in known:
        raise UsageError(
            f'there is no configuration "{name}": neither a file nor one that comes with sslbolts.'
            f"{did_you_mean(name, known)} `sslbolts configs` lists those."
        )
    return FOLDER / f"{name}.yaml"


def first_sentence(name: str) -> str:
    """The sentence that a configuration begins with.

    Example:
        >>> first_sentence("simclr_cifar10mini")
        'SimCLR with a narrow ResNet-10 on the 5,000 images that come with the package, monitored on 1,000 others.'
    """
    lines = configuration(name).read_text(encoding="utf-8").splitlines()
    opening = " ".join(line.removeprefix("#").strip() for line in takewhile("#".__ne__, lines))
    return re.split(r"(?<=\.) (?=[A-Z])", opening)[0]
