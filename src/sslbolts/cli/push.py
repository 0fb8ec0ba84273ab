"""``sslbolts push CKPT OWNER/NAME``: a backbone and its model card on the Hugging Face Hub, for timm and sslbolts."""

import json
import re
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sslbolts.cli.shared.checks import check_folder
from sslbolts.cli.shared.parser import Parser
from sslbolts.errors import UsageError

if TYPE_CHECKING:
    from sslbolts.export import Loaded

__all__ = ["main", "write_repository"]


def main(argv: Sequence[str]) -> int:
    """Write the files, and send them.

    Raises:
        UsageError: for a user's mistake.
    """
    parser = Parser(
        "sslbolts push",
        description="Put the backbone of a checkpoint on the Hugging Face Hub, with a model card made of its run's "
        "record: sslbolts push runs/demo/simclr.ckpt jane/resnet18-plants. Folders, machines, passwords and keys are "
        "left out of the card; --only_write shows the files and sends nothing.",
    )
    parser.add_argument("checkpoint", help="as of `sslbolts export`")
    parser.add_argument("repository", help="OWNER/NAME; made where there is none")
    parser.add_argument("--teacher", action="store_true", help="the teacher's backbone")
    parser.add_argument("--private", action="store_true", help="a new repository is for its owner alone")
    parser.add_argument("--license", type=str | None, default=None, help="of the weights: apache-2.0, cc-by-4.0, ...")
    parser.add_argument("--new_card", action="store_true", help="replace a README.md that is there already")
    parser.add_argument("--only_write", type=str | None, default=None, help="a folder for the files; nothing is sent")
    options = parser.parse(argv)

    from sslbolts.checkpoints import hub

    hub.check_name(options.repository)
    if options.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,60}", options.license):
        raise UsageError(f'--license "{options.license}": give its name on the Hub, such as apache-2.0 or cc-by-4.0.')
    if options.only_write is not None:
        check_folder("--only_write", options.only_write)

    from sslbolts.export import read_backbone

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* was read as ")
        loaded = read_backbone(options.checkpoint, teacher=options.teacher)
    if loaded.report is not None:
        print(loaded.report)
    if options.only_write is not None:
        in_timm = write_repository(loaded, options.checkpoint, options.repository, options.only_write, options.license)
        print(f"wrote {hub.WEIGHTS}, {hub.CONFIG} and README.md into {options.only_write}; nothing was sent.")
    else:
        with tempfile.TemporaryDirectory() as folder:
            in_timm = write_repository(loaded, options.checkpoint, options.repository, folder, options.license)
            page, kept = hub.upload(
                Path(folder),
                options.repository,
                message=f"The backbone of {_method(loaded)}",
                private=options.private,
                new_card=options.new_card,
            )
        print(f"sent to {page}")
        if kept:
            print("  its README.md was there already and stays; --new_card replaces it")
    print(f'  sslbolts.load_backbone("hf://{options.repository}")')
    if in_timm:
        print(f'  timm.create_model("hf-hub:{options.repository}", pretrained=True)')
    else:
        print(f"  timm has no such network: {_network(loaded)}")
    return 0


def write_repository(
    loaded: "Loaded", checkpoint: str | Path, repository: str, folder: str | Path, license: str | None = None
) -> bool:
    """Write ``model.safetensors``, ``config.json`` and ``README.md``.

    Args:
        loaded: the backbone.
        checkpoint: where it is from; the record of its run is looked for beside it.
        repository: OWNER/NAME.
        folder: of the files.
        license: of the weights.

    Returns:
        whether timm makes the network, too.

    Raises:
        UsageError: if the file does not say what network it is of, or a file cannot be written.
    """
    from sslbolts.checkpoints.hub import CONFIG, WEIGHTS
    from sslbolts.checkpoints.timm_config import timm_config
    from sslbolts.checks import write_text
    from sslbolts.export import backbone_spec, write_backbone
    from sslbolts.networks.widths import feature_width
    from sslbolts.report import read_run
    from sslbolts.report.card import Card, model_card, run_folder

    if loaded.spec is None:
        raise UsageError(
            f'"{checkpoint}" does not say what network it is, since its method was given a module: others could not '
            "make it. Share the code and the checkpoint instead."
        )
    weights = Path(folder) / WEIGHTS
    try:
        write_backbone(loaded, weights, format="timm")
        in_timm = True
    except UsageError:
        write_backbone(loaded, weights, format="safetensors")
        in_timm = False
    network = loaded.network()
    if in_timm:
        spec = backbone_spec(weights) or {}
        config = timm_config(network, spec, loaded.preprocessing, _method(loaded))
    else:
        config = {"library_name": "sslbolts", "num_features": feature_width(network), **loaded.spec}
    write_text(Path(folder) / CONFIG, json.dumps(config, indent=2) + "\n")
    beside = run_folder(checkpoint)
    card = Card(
        repository=repository,
        method=_method(loaded),
        network=_network(loaded),
        num_features=feature_width(network),
        preprocessing=loaded.preprocessing,
        in_timm=in_timm,
        license=license,
    )
    write_text(Path(folder) / "README.md", model_card(card, None if beside is None else read_run(beside)))
    return in_timm


def _network(loaded: "Loaded") -> str:
    spec = loaded.spec or {}
    stem = spec.get("stem", "imagenet")
    return f"{spec.get('backbone', 'a network')}" + ("" if stem == "imagenet" else f' with stem="{stem}"')


def _method(loaded: "Loaded") -> str:
    """The words for what trained it."""
    if loaded.method:
        return loaded.method
    return "a network" if loaded.report is None else f"a network of {loaded.report.source}"
