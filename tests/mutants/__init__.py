"""Mutants: the product broken on purpose, one plausible mistake at a time, and the tests that notice.

``python benchmarks/mutants.py`` makes each in a copy of ``src`` and runs its tests. All but those of the
protocols were written from the source alone, before the tests that notice them were looked for.
"""

from tests.mutants import (
    clustering,
    contrastive,
    data,
    decorrelation,
    masked,
    measuring,
    pretext,
    semi_supervised,
    sequences,
    teacher_student,
    training,
)
from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

_FILES = (
    contrastive,
    teacher_student,
    decorrelation,
    clustering,
    masked,
    pretext,
    sequences,
    semi_supervised,
    training,
    data,
    measuring,
)

MUTANTS: tuple[Mutant, ...] = tuple(mutant for file in _FILES for mutant in file.MUTANTS)
