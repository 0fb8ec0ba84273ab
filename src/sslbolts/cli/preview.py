"""``sslbolts preview``: a picture of what the augmentation does to real images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbolts.checks import must_be_writable
from sslbolts.cli.shared.parser import Parser
from sslbolts.cli.shared.source import add_data, instantiated_data
from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from sslbolts.data import SSLDataModule
    from sslbolts.pictures.augmentations import Examples

__all__ = ["main"]

_ENDINGS = (".png", ".jpg", ".pdf", ".svg", ".webp")


def main(argv: Sequence[str]) -> int:
    """Draw the sheet.

    Raises:
        UsageError: for a user's mistake.
    """
    from sslbolts.data import SSLDataModule

    parser = Parser(
        "sslbolts preview",
        description="Draw what the augmentation does to real images: --data ImageFolder --data.root my/images",
    )
    add_data(parser, SSLDataModule)
    parser.add_argument("--views", type=str | None, default=None, help="a recipe: simclr, byol, dino, ...")
    parser.add_argument("--output", type=str | None, default=None, help="the picture; default: augmentations.png here")
    parser.add_argument("--images", type=int, default=6, help="rows")
    parser.add_argument("--draws", type=int, default=4, help="columns of each kind of view")
    parser.add_argument("--seed", type=int, default=0, help="of the images and of what is drawn")
    config = parser.parse(argv)
    if config.output is not None and Path(config.output).suffix not in _ENDINGS:
        raise UsageError(f'--output "{config.output}": the picture must end in {", ".join(_ENDINGS)}.')
    for name in ("images", "draws"):
        if not 1 <= config[name] <= 32:
            raise UsageError(f"--{name} {config[name]}: it must be in 1 to 32.")
    must_be_writable(config.output or "augmentations.png", "Make room there, or name another file with --output.")
    if config.views is not None:
        config.data.init_args.views = config.views
    data: SSLDataModule = instantiated_data(parser, config)

    from sslbolts.evaluation.identity import data_identity
    from sslbolts.pictures.augmentations import draw_augmentations
    from sslbolts.pictures.style import digest_of, free_picture, save

    views = config.data.init_args.views
    title = type(data).__name__.removesuffix("DataModule")
    title = f'"{views}" on {title}' if isinstance(views, str) else title
    images = _images(data, config.images, config.seed)
    figure = draw_augmentations(
        images,
        data.views,
        draws=config.draws,
        seed=config.seed,
        color=data.color,
        color_channels=data.color_channels,
        title=title,
        examples=_examples(views),
    )
    if config.output is not None:
        print(f"wrote {save(figure, config.output)}")
        return 0
    digest = digest_of(data_identity(data), str(data.views), config.images, config.draws, config.seed)
    print(f"wrote {save(figure, free_picture('augmentations.png', digest), digest=digest)}")
    return 0


def _examples(views: object) -> "Examples | None":
    """What the method whose recipe it is makes of its views; only the methods that have this recipe are imported."""
    from sslbolts.methods.registry import METHODS, get_method

    for name in (name for name, line in METHODS.items() if line.views == views):
        method: Any = get_method(name)
        own = [cls for cls in method.__mro__ if "examples" in vars(cls) and cls.__name__ != "PretextModule"]
        if own:
            examples: Examples = method.examples
            return examples
    return None


def _images(data: "SSLDataModule", count: int, seed: int) -> "list[Tensor]":
    """Distinct training images, as they are stored."""
    import torch

    from sslbolts.data.images import readable

    data.prepare_data()
    images = data.load("train")
    if images is None or len(images) == 0:
        raise UsageError(f"{type(data).__name__} has no training images.")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return readable(images, order.tolist(), count)
