"""The tree of errors; a class exists when a caller would act differently.

ChappeError
└── StoreUnavailable
"""

from __future__ import annotations


class ChappeError(Exception):
    """Something went wrong in Chappe; the message says what to do."""


class StoreUnavailable(ChappeError):
    """The store cannot take this now (disk full, locked, gone): nothing was stored, try again."""
