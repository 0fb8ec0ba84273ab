"""``sslbolts detect``: the backbone in a Faster R-CNN, fine-tuned on boxes and measured."""

import os
from collections.abc import Sequence

from sslbolts.cli.parser import Parser
from sslbolts.cli.source import add_output, add_source, check, encoder_of, result_file

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Train, measure, print, and write the result.

    Raises:
        UsageError: for a user's mistake.
    """
    parser = Parser(
        prog="sslbolts detect",
        description="Fine-tune a Faster R-CNN with a feature pyramid on images with boxes in PASCAL VOC's folders, and "
        "measure its mean average precision: sslbolts detect runs/moco/last.ckpt --root data/VOCdevkit "
        "--train VOC2007:trainval VOC2012:trainval --test VOC2007:test",
    )
    add_source(parser, layer=False)
    parser.add_argument("--root", required=True, help="folder of one VOC set, or of several")
    parser.add_argument(
        "--train", nargs="+", default=["VOC2007:trainval"], help="SET:SPLIT, or SPLIT (default: VOC2007:trainval)"
    )
    parser.add_argument("--test", nargs="+", default=["VOC2007:test"], help="SET:SPLIT (default: VOC2007:test)")
    parser.add_argument("--steps", type=int, default=24000, help="optimizer steps (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=16, help="images per device (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=0.02, help="learning rate for 16 images (default: %(default)s)")
    parser.add_argument(
        "--image_size", type=int, nargs=2, default=[800, 1333], help="shorter and longest side (default: 800 1333)"
    )
    parser.add_argument(
        "--train_sizes",
        type=int,
        nargs="+",
        default=list(range(480, 801, 32)),
        help="shorter sides in training (default: 480 512 ... 800)",
    )
    parser.add_argument("--anchor_sizes", type=int, nargs="+", default=None, help="sides (default: 32 64 128 256 512)")
    parser.add_argument("--layers", nargs="+", default=None, help="stages whose maps are used (default: the last four)")
    parser.add_argument("--width", type=int, default=256, help="channels of the pyramid (default: %(default)s)")
    parser.add_argument("--train_norms", action="store_true", help="train the batch norms, which are frozen otherwise")
    parser.add_argument("--normalize", default="auto", help="auto (as in training), imagenet or none")
    parser.add_argument("--num_workers", type=int, default=2, help="processes that read (default: %(default)s)")
    parser.add_argument("--devices", type=int, default=1, help="devices that train (default: %(default)s)")
    parser.add_argument("--precision", default="32-true", help="of the Trainer (default: %(default)s)")
    parser.add_argument("--save", default=None, help="checkpoint of the trained detector to write")
    add_output(parser)
    arguments = parser.parse_args(argv)
    check(arguments)

    from rich.console import Console

    from sslbolts.evaluation.detection.run import evaluate_detection

    encoder = encoder_of(arguments)
    result = evaluate_detection(
        encoder,
        arguments.root,
        train=arguments.train,
        test=arguments.test,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        normalize=arguments.normalize,
        devices=arguments.devices,
        precision=arguments.precision,
        seed=arguments.seed,
        save=arguments.save,
        lr=arguments.lr,
        image_size=tuple(arguments.image_size),
        train_sizes=arguments.train_sizes,
        anchor_sizes=arguments.anchor_sizes,
        layers=arguments.layers,
        width=arguments.width,
        frozen_norm=not arguments.train_norms,
    )
    if os.environ.get("LOCAL_RANK", "0") != "0":  # another process of the same run
        return 0
    Console().print(result.table())
    print(f"wrote {result.save(result_file(result, arguments, encoder))}")
    return 0
