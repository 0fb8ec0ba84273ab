"""The verbs of the command line, each with its module, and the line that a user's mistake is printed as."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sslbolts.cli.shared.explain import cause_of
from sslbolts.errors import UsageError, did_you_mean

__all__ = ["VERBS", "Verb", "main"]

_TERMINATED = 128 + 15  # as a shell calls a process that SIGTERM has ended
_INTERRUPTED = 128 + 2  # and SIGINT
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_UNREAD = 128 + 13  # and SIGPIPE


@dataclass(frozen=True)
class Verb:
    """A line of ``sslbolts --help``.

    Attributes:
        module: its ``main(argv)`` carries the verb out; imported when the verb is called.
        summary: what it does.
        passes_verb: whether ``argv`` begins with the verb itself, for a module that serves several.
    """

    module: str
    summary: str
    passes_verb: bool = False


VERBS: dict[str, Verb] = {
    "fit": Verb("sslbolts.cli.training", "train a method: --model SimCLR --data CIFAR10, or --config FILE", True),
    "validate": Verb("sslbolts.cli.training", "measure a checkpoint on the validation images", True),
    "test": Verb("sslbolts.cli.training", "measure a checkpoint on the test images", True),
    "predict": Verb("sslbolts.cli.training", "write features, labels and paths to a file: --output FILE", True),
    "evaluate": Verb(
        "sslbolts.cli.evaluate", "judge a checkpoint: knn, ridge, linear, mlp, layers, svm, finetune, few-label, ..."
    ),
    "transfer": Verb(
        "sslbolts.cli.transfer", "many data sets by logistic regression or fine-tuning, beside the published table"
    ),
    "detect": Verb("sslbolts.cli.detect", "fine-tune a Faster R-CNN on boxes, and measure its average precision"),
    "diagnose": Verb("sslbolts.cli.diagnose", "what features hold, what the projector throws away, which classes mix"),
    "export": Verb("sslbolts.cli.export", "write the backbone of any checkpoint for timm, torchvision, ONNX, ..."),
    "push": Verb("sslbolts.cli.push", "put the backbone and its model card on the Hugging Face Hub"),
    "pictures": Verb("sslbolts.cli.pictures", "draw neighbors, embedding, clusters, attention and augmentation"),
    "duplicates": Verb("sslbolts.cli.duplicates", "list near-duplicates of one's images by their features"),
    "report": Verb("sslbolts.cli.report", "one HTML page of a run, or of several beside each other"),
    "methods": Verb("sslbolts.cli.methods", "list the methods, what they need and where they come from"),
    "configs": Verb("sslbolts.cli.configs", "list the configurations that come with the package, or print one"),
    "preview": Verb("sslbolts.cli.preview", "draw what the augmentation does to real images"),
    "demo": Verb("sslbolts.cli.demo", "train SimCLR on the packaged images in a few minutes, and draw what it learned"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line, and return the exit code: 0, 2 for a user's mistake, or 128 + the signal that ended it.

    A mistake is told in one line on stderr. Any other exception is a bug and keeps its traceback.

    Args:
        argv: the arguments after ``sslbolts``; those of the process by default.

    Example:
        >>> main(["methods", "--plain"])
        name    family ...
        0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no "é" or "†" is no reason to fail
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except ValueError as error:
        mistake = cause_of(error, UsageError)  # jsonargparse wraps what constructors raise
        if mistake is None:
            raise
        message = _on_one_line(str(mistake))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as stop:  # --help and --print_config end this way, and Lightning when it is interrupted
        if isinstance(stop.__context__, KeyboardInterrupt):  # before training, or where nothing was to be saved
            return _INTERRUPTED
        if isinstance(stop.code, int):
            return stop.code
        if isinstance(stop.code, str):  # of somebody's own class
            print(stop.code, file=sys.stderr)
            return 1
        return 0 if type(stop) is SystemExit else _TERMINATED  # Lightning's exception for SIGTERM has no code
    except BrokenPipeError:
        if _is_read():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return _UNREAD
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        message = f"{error.filename or 'what is printed'} cannot be written: {error.strerror}. Make room there."
        if error.filename is None and not _is_read():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    rank = os.environ.get("LOCAL_RANK", "0")
    print(f"error{'' if rank == '0' else f' (rank {rank})'}: {message}", file=sys.stderr)
    return 2


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from sslbolts import __version__

        print(f"sslbolts {__version__}")
        return 0
    name = arguments[0]
    if name not in VERBS:
        raise UsageError(f'there is no command "{name}".{did_you_mean(name, VERBS)} It is one of {", ".join(VERBS)}.')
    verb = VERBS[name]
    code: int | None = importlib.import_module(verb.module).main(arguments if verb.passes_verb else arguments[1:])
    return code or 0


def _on_one_line(message: str) -> str:
    """A message as text alone: names in a stranger's file may hold what moves a terminal's cursor or sets its title."""
    line = " ".join(message.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _is_read() -> bool:
    """Whether somebody still reads what is printed: `sslbolts methods | head` has soon seen enough."""
    try:
        print(flush=True)
    except OSError:  # closed, or full
        return False
    return True


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: sslbolts COMMAND [OPTIONS]",
            "",
            "Self-supervised learning of image representations with PyTorch Lightning.",
            "",
            *lines,
            "",
            "sslbolts COMMAND --help explains one; sslbolts fit --print_config prints a whole configuration.",
        ]
    )
