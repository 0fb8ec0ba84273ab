"""Places that cannot be written to, said before the work starts; and addresses of the Hub where no run can be."""

from sslbolts.checks import must_be_writable
from sslbolts.export import load_backbone
from tests.cli.wrong import DATA, SIMCLR, TRAINER, Wrong

_CKPT = "{files}/simclr.ckpt"
_BELOW = "{files}/notes.ckpt/deep"
_PREDICT = ["predict", *SIMCLR[1:-1]]


def _judged(verb: list[str]) -> list[Wrong]:
    """Below a file, in a system without files, and at a folder's name; by the verbs that judge a network."""
    name = verb[0] if verb[0] != "evaluate" else " ".join(verb[:2])
    return [
        Wrong(
            f"{name} into a file's place",
            [*verb, f"--output={_BELOW}/x.json"],
            "deep/x.json cannot be written: Not a directory. Make room there, or name another place.",
        ),
        Wrong(f"{name} into /proc", [*verb, "--output=/proc/x.json"], "/proc/x.json cannot be written: "),
    ]


WRONG_DISKS = [
    *_judged(["evaluate", "knn", _CKPT]),
    *_judged(["evaluate", "label-efficiency", _CKPT]),
    *_judged(["transfer", _CKPT, "--datasets=DTD", "--root={files}"]),
    *_judged(["detect", _CKPT, "--root={files}", "--train=VOC2007:trainval", "--test=VOC2007:test"]),
    *_judged(["diagnose", _CKPT]),
    Wrong(
        "a result beside a network that stands below a file",
        ["evaluate", "ridge", f"{_BELOW}/x.ckpt"],
        "Not a directory. Make room there, or name another file with --output.",
    ),
    Wrong("a result at a folder's name", ["evaluate", "knn", _CKPT, "--output={files}/folder.json"], "it is a folder"),
    Wrong("pictures below a file", ["pictures", _CKPT, f"--output={_BELOW}"], "cannot be written: Not a directory"),
    Wrong("pictures into /proc", ["pictures", _CKPT, "--output=/proc/pictures"], "name another folder with --output."),
    Wrong("a preview below a file", ["preview", f"--output={_BELOW}/x.png"], "cannot be written: Not a directory"),
    Wrong("a preview into /proc", ["preview", "--output=/proc/x.png"], "/proc/x.png cannot be written"),
    Wrong("a report below a file", ["report", "{files}/run", f"--output={_BELOW}/x.html"], "Not a directory"),
    Wrong("a report into /proc", ["report", "{files}/run", "--output=/proc/x.html"], "/proc/x.html cannot be written"),
    Wrong("an export below a file", ["export", _CKPT, f"{_BELOW}/x.safetensors"], "Not a directory"),
    Wrong("an export into /proc", ["export", _CKPT, "/proc/x.onnx"], "/proc/x.onnx cannot be written"),
    Wrong("a repository below a file", ["push", _CKPT, "a/b", f"--only_write={_BELOW}"], "notes.ckpt is a file"),
    Wrong("features into /proc", [*_PREDICT, "--output=/proc/x.npz"], "/proc cannot be written to"),
    Wrong("a demo in /proc", ["demo", "--folder=/proc/demo"], "--folder /proc/demo: /proc cannot be written to"),
    Wrong("a run in /proc", [*SIMCLR, "--trainer.default_root_dir=/proc/runs"], "/proc cannot be written to"),
    Wrong(
        "a log in /proc",
        [*SIMCLR, "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=/proc/logs"],
        "--trainer.logger.save_dir /proc/logs: /proc cannot be written to",
    ),
    Wrong(
        "checkpoints in /proc",
        [*SIMCLR, "--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.dirpath=/proc/ckpt"],
        "--trainer.callbacks.dirpath /proc/ckpt: /proc cannot be written to",
    ),
    Wrong(
        "a log of validate that was asked for",
        ["validate", f"--ckpt_path={_CKPT}", "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=/proc/logs"],
        "--trainer.logger.save_dir /proc/logs: /proc cannot be written to",
    ),
    Wrong(
        "a run that goes on from the Hub",
        ["fit", "--ckpt_path=hf://jane/net", *DATA, *TRAINER],
        '"hf://jane/net" is the address of a backbone alone',
    ),
    Wrong(
        "an address of no repository",
        ["evaluate", "knn", "hf://net"],
        '"net" is no name of a repository: give OWNER/NAME',
        lambda files: load_backbone("hf://net"),
    ),
    Wrong("no name of a repository", ["push", _CKPT, "net"], '"net" is no name of a repository'),
    Wrong("a license in words", ["push", _CKPT, "a/b", "--license=Do what you like"], "give its name on the Hub"),
    Wrong("a repository of no file", ["push", "{files}/nowhere.ckpt", "a/b"], "there is no file"),
    Wrong(
        "results below a device",
        ["evaluate", "knn", _CKPT, "--output=/dev/null/x.json"],
        "/dev/null/x.json cannot be written: Not a directory.",
        lambda files: must_be_writable("/dev/null/x.json"),
    ),
]
