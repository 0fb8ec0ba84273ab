"""Which call of the library each golden case stands for, family by family: inputs and parameters in, named outputs out.

A case is in ``CASES``, or in ``NOT_YET`` with what will bring it.
"""

from tests.golden import (
    cases_clustering,
    cases_color,
    cases_common,
    cases_contrastive,
    cases_decorrelation,
    cases_masked,
    cases_patches,
    cases_teacher_student,
)
from tests.golden.pending import NOT_YET
from tests.golden.reference import Case

__all__ = ["CASES", "NOT_YET"]

CASES: dict[str, Case] = {
    **cases_common.CASES,
    **cases_contrastive.CASES,
    **cases_patches.CASES,
    **cases_teacher_student.CASES,
    **cases_decorrelation.CASES,
    **cases_clustering.CASES,
    **cases_masked.CASES,
    **cases_color.CASES,
}
