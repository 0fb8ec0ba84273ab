"""Checks of arguments, classes, labels and files, and of what a device can do."""

from sslbolts.checks.arguments import (
    as_plain,
    at_least,
    below_one,
    fraction,
    is_number,
    is_plain,
    one_of,
    positive,
    whole,
)
from sslbolts.checks.classes import (
    HARMLESS,
    TRUST,
    import_class,
    import_named_in_file,
    is_named,
    is_own,
    is_trusted,
    naming,
)
from sslbolts.checks.files import must_be_writable, read_regular, whole_file, write_text

__all__ = [
    "HARMLESS",
    "TRUST",
    "as_plain",
    "at_least",
    "below_one",
    "fraction",
    "import_class",
    "import_named_in_file",
    "is_named",
    "is_number",
    "is_own",
    "is_plain",
    "is_trusted",
    "must_be_writable",
    "naming",
    "one_of",
    "positive",
    "read_regular",
    "whole",
    "whole_file",
    "write_text",
]
