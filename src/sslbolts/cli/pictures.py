"""``sslbolts pictures SOURCE``: pictures of what a network has learned."""

from collections.abc import Sequence
from pathlib import Path

from sslbolts.checks import must_be_writable
from sslbolts.cli.shared.parser import Parser
from sslbolts.cli.shared.source import add_data, add_source, data_of, encoder_of
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Draw them.

    Raises:
        UsageError: for a user's mistake.
    """
    from sslbolts.data import SSLDataModule
    from sslbolts.evaluation.pictures import DRAW, FEWEST_IMAGES, Subject

    parser = Parser(
        "sslbolts pictures",
        description="Pictures of what a network has learned: "
        "sslbolts pictures runs/demo/simclr.ckpt --data CIFAR10Mini --what neighbors,embedding",
    )
    add_source(parser)
    add_data(parser, SSLDataModule)
    parser.add_argument(
        "--what",
        type=str | None,
        default=None,
        help=f"of {', '.join(DRAW)}; default: neighbors, embedding, clusters, and attention of a transformer",
    )
    parser.add_argument("--images", type=int, default=1000, help="of embedding and clusters, at most")
    parser.add_argument("--bank", type=int, default=10_000, help="images among which neighbors are sought, at most")
    parser.add_argument("--rows", type=int, default=8, help="images of neighbors, attention and augmentations")
    parser.add_argument("--cache", type=str | None, default=None, help="folder in which features are kept")
    parser.add_argument("--output", type=str | None, default=None, help="folder; default: pictures/ beside the source")
    config = parser.parse(argv)
    for name, least, most in (("images", FEWEST_IMAGES, 20_000), ("bank", 1, 10**7), ("rows", 1, 32)):
        if not least <= config[name] <= most:
            raise UsageError(f"--{name} {config[name]}: it must be in {least:,} to {most:,}.")
    wanted = _names(config.what, list(DRAW))
    if config.output is not None and Path(config.output).is_file():
        raise UsageError(f'--output "{config.output}" is a file: name a folder.')

    from sslbolts.evaluation.result import result_path
    from sslbolts.pictures.style import digest_of, free_picture, save

    beside = result_path(str(config.source), "pictures", "").parent.parent / "pictures"
    folder = beside if config.output is None else Path(config.output)
    must_be_writable(folder / "picture.png", "Make room there, or name another folder with --output.")
    encoder = encoder_of(config)
    data: SSLDataModule = data_of(parser, config, encoder)
    subject = Subject(encoder, data, config.images, config.bank, config.rows, config.seed, config.cache)
    data.prepare_data()
    data.setup()
    digest = digest_of(
        encoder.source, encoder.digest, subject.identity, config.images, config.bank, config.rows, config.seed
    )
    for name in wanted or subject.fitting():
        path = free_picture(folder / f"{name}.png", digest)
        print(f"wrote {save(DRAW[name](subject), path, digest=digest)}")
    if wanted != ["augmentations"]:
        for note in subject.notes:
            print(note)
    return 0


def _names(what: str | None, known: list[str]) -> list[str]:
    given = [] if what is None else [name.strip() for name in what.split(",") if name.strip()]
    names = [name.replace("bours", "bors") if name.endswith("bours") else name for name in given]  # British spelling
    for name in names:
        if name not in known:
            raise UsageError(f'--what has no "{name}".{did_you_mean(name, known)} It is of {", ".join(known)}.')
    if what is not None and not names:
        raise UsageError(f"--what names no picture: it is of {', '.join(known)}.")
    return list(dict.fromkeys(names))
