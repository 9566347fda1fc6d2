"""Every error this package raises on purpose.

RatingError
├── BadComparisons      votes that cannot be counted; `row` is the index of the first of them
└── BadParameter        an option or a start value is out of range
    └── BadOption       an option of a board does not go with its votes
"""

from __future__ import annotations


class RatingError(ValueError):
    """Base of all errors of this package. The message is a plain sentence; retrying is no help."""


class BadComparisons(RatingError):
    """Votes cannot be counted. `row` is the index of the first bad one in the arrays given."""

    def __init__(self, problem: str, *, row: int | None = None) -> None:
        super().__init__(problem if row is None else f"row {row}: {problem}")
        self.row = row


class BadParameter(RatingError):
    """An option or a start value is out of range."""


class BadOption(BadParameter):
    """A board's votes cannot have what its options ask for; `option` is the name of the one."""

    def __init__(self, problem: str, *, option: str) -> None:
        super().__init__(problem)
        self.option = option
