"""A memory that strangers cannot fill."""

from __future__ import annotations

from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(dict[_Key, _Value]):
    """Forgets what was added first when an item too many is set: clients choose the keys."""

    def __init__(self, kept: int = 10_000) -> None:
        super().__init__()
        self._kept = kept

    def __setitem__(self, key: _Key, value: _Value) -> None:
        super().__setitem__(key, value)
        if len(self) > self._kept:
            del self[next(iter(self))]
