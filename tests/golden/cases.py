"""The call of the library that each golden case stands for, family by family: inputs in, named outputs out."""

from tests.golden import (
    cases_clustering,
    cases_color,
    cases_common,
    cases_contrastive,
    cases_counting,
    cases_decorrelation,
    cases_generative,
    cases_initialization,
    cases_masked,
    cases_patches,
    cases_rotations,
    cases_semi_supervised,
    cases_teacher_student,
    cases_text,
    cases_tiles,
    cases_video,
)
from tests.golden.reference import Case

__all__ = ["CASES"]

CASES: dict[str, Case] = {
    **cases_common.CASES,
    **cases_contrastive.CASES,
    **cases_patches.CASES,
    **cases_teacher_student.CASES,
    **cases_decorrelation.CASES,
    **cases_clustering.CASES,
    **cases_masked.CASES,
    **cases_semi_supervised.CASES,
    **cases_initialization.CASES,
    **cases_tiles.CASES,
    **cases_rotations.CASES,
    **cases_generative.CASES,
    **cases_video.CASES,
    **cases_text.CASES,
    **cases_counting.CASES,
    **cases_color.CASES,
}
