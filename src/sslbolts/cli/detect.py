"""``sslbolts detect``: the backbone in a Faster R-CNN, fine-tuned on boxes and measured."""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Train, measure, print, and write the result.

    Raises:
        UsageError: for a user's mistake.
    """
    from sslbolts.checks import one_of
    from sslbolts.cli.shared import results, source
    from sslbolts.cli.shared.parser import Parser
    from sslbolts.evaluation import Detector, evaluate_detection

    parser = Parser(
        "sslbolts detect",
        description="Fine-tune a Faster R-CNN with a feature pyramid on images with boxes in PASCAL VOC's folders, and "
        "measure its mean average precision: sslbolts detect runs/moco/last.ckpt --root data/VOCdevkit "
        "--train VOC2007:trainval VOC2012:trainval --test VOC2007:test",
    )
    source.add_source(parser, layer=False)
    source.add_init(parser, ("random",))
    results.add_output(parser)
    parser.add_options(evaluate_detection, skip=("seed", "progress"))
    detector = parser.add_options(Detector, skip=("num_classes", "in_chans", "mean", "std"))  # these are the data's
    parser.set_defaults(num_workers=2, train_sizes=list(range(480, 801, 32)), frozen_norm=None)
    config = parser.parse(argv)
    results.check(config)

    if config.init is not None:
        one_of(("random",), init=config.init)
    encoder = source.drawn_anew(config, source.encoder_of(config), None)
    result = evaluate_detection(encoder, **source.arguments_of(evaluate_detection, config, detector))
    return results.finish(result, config, encoder)
