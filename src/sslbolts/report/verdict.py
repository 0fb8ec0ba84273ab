"""A verdict on a run in one line: the numbers, whether it has learned anything, and what to do if not."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from sslbolts.methods.registry import METHODS

__all__ = ["LABELS_WOULD_SAY", "Verdict", "verdict"]

LABELS_WOULD_SAY = (
    "Labels of a few images would say more: with a folder for each class (--data.labeled_train, --data.labeled_val), a "
    "run also measures how often neighbors and linear classifiers find the class."
)
"""Of a run that was judged without labels."""

_MEASURES = (
    r"(?:[\w.-]+/)?knn/k\d+_t[\d.e-]+(?:/map)?",
    r"(?:[\w.-]+/)?ridge/(?:top1|map)",
    r"(?:[\w.-]+/)?agreement/top1",
)
_RANKS = (r"(?:[\w.-]+/)?rankme", r"(?:[\w.-]+/)?agreement/rankme")
_LOW_RANK = 3.0
_OF_TEXT = {
    "train/loss_of_chance": "that of guessing",
    "train/loss_of_frequencies": "that of guessing by the words' frequencies",
}


class Verdict(NamedTuple):
    """What the numbers of a run say.

    Attributes:
        measure: name of the metric that it is judged by; None where nothing was measured.
        learned: True above both baselines, False where it is not above the untrained network; else None.
        line: the numbers and what they mean.
        advice: what to do; empty where there is nothing to mend.
    """

    measure: str | None
    learned: bool | None
    line: str
    advice: str

    @property
    def labels(self) -> bool:
        """Whether what it is judged by needs labels, or nothing was measured."""
        return self.measure is None or not self.measure.endswith("agreement/top1")


def verdict(values: Mapping[str, float], model: str = "") -> Verdict:
    """Judge a run by its last metrics.

    Args:
        values: by metric name, shares in [0, 1]: ``knn/...``, ``ridge/top1`` or ``agreement/top1`` with their
            ``/raw_pixels`` and ``/untrained``, ``train/loss_of_chance``, ``rankme``.
        model: name of the method; those of text are judged by their loss alone.

    Example:
        >>> found = verdict({"ridge/top1": 0.5, "ridge/top1/raw_pixels": 0.4, "ridge/top1/untrained": 0.3})
        >>> found.learned, found.line.partition(": ")[2]
        (True, 'it has learned what pixels do not show.')
        >>> verdict({}).line
        'nothing was measured that says whether it has learned anything.'
        >>> verdict({"train/loss_of_chance": 0.72}, "Word2Vec").line
        'the loss is 0.72 of that of guessing: it has learned which words stand together.'
    """
    if model in METHODS and METHODS[model].learns_from == "text":
        return _of_text(values)
    measure = next((name for pattern in _MEASURES for name in values if re.fullmatch(pattern, name)), None)
    rank = next((values[name] for pattern in _RANKS for name in values if re.fullmatch(pattern, name)), None)
    chance = values.get("train/loss_of_chance")
    asides = [f"the loss is {chance:.2f} of chance's"] if chance is not None and math.isfinite(chance) else []
    asides += [f"RankMe {rank:.1f}"] if rank is not None and math.isfinite(rank) else []
    aside = f" ({', '.join(asides)})" if asides else ""
    if measure is None:
        line = f"nothing was measured that says whether it has learned anything{aside}."
        return Verdict(
            None, None, line, "Add KNNMonitor where there are labels, or ViewAgreement where there are none."
        )
    value, pixels, untrained = (values.get(f"{measure}{suffix}") for suffix in ("", "/raw_pixels", "/untrained"))
    assert value is not None
    named = {"raw pixels": pixels, "untrained network": untrained}
    beside = ", ".join(f"{name} {100 * other:.1f} %" for name, other in named.items() if other is not None)
    start = f"{measure} is {100 * value:.1f} %" + (f" ({beside})" if beside else "")
    if not math.isfinite(value):
        advice = "Use a smaller learning rate, or a longer warm-up."
        return Verdict(measure, False, f"{measure} is no number: the network has diverged.", advice)
    if untrained is not None and value <= untrained:
        return Verdict(
            measure,
            False,
            f"{start}: it has learned nothing that this shows{aside}.",
            "Train longer; try another learning rate; look at the views (pictures/augmentations) and at the collapse "
            "metrics.",
        )
    low = rank is not None and rank < _LOW_RANK
    collapsed = "RankMe is low, so features fill few directions: see the collapse metrics." if low else ""
    if pixels is not None and value <= pixels:
        advice = "Train longer: raw pixels still tell as much."
        return Verdict(measure, None, f"{start}: it has learned something, but less than pixels show{aside}.", advice)
    if untrained is None and pixels is None:
        return Verdict(measure, None, f"{start}; there is no baseline to compare it with{aside}.", collapsed)
    return Verdict(measure, True, f"{start}: it has learned what pixels do not show{aside}.", collapsed)


def _of_text(values: Mapping[str, float]) -> Verdict:
    measure = next((name for name in _OF_TEXT if name in values), None)
    if measure is None:
        line = "nothing was measured that says whether it has learned anything."
        return Verdict(None, None, line, "Its training logs the loss as a multiple of that of guessing.")
    value = values[measure]
    if not math.isfinite(value):
        advice = "Use a smaller learning rate, or a longer warm-up."
        return Verdict(measure, False, f"{measure} is no number: the network has diverged.", advice)
    start = f"the loss is {value:.2f} of {_OF_TEXT[measure]}"
    if value < 1:
        return Verdict(measure, True, f"{start}: it has learned which words stand together.", "")
    advice = "Train longer; try another learning rate; look at the nearest words (NearestWords)."
    return Verdict(measure, False, f"{start}: it has learned nothing that this shows.", advice)
