"""French mobiles in random order, all different, each made when it is asked for: no list of millions is kept."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import overload

FIRST, MOBILES = 640_000_000, 50_000_000
"""064 to 068: all of them are mobiles of metropolitan France."""
FACTOR, STEP = 31_415_821, 14_142_137
"""Of a linear congruence whose period is every number: FACTOR - 1 has all prime factors of MOBILES and 4, STEP none."""


class Numbers(Sequence[str]):
    """So many of them, beginning where the seed says."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._place = random.Random(seed).randrange(MOBILES)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._count)
            assert step == 1, "only slices of neighbours"
            return list(islice(self._walk(start), max(0, stop - start)))
        if not 0 <= index < self._count:
            raise IndexError(index)
        return _shown(self._at(index))

    def _at(self, index: int) -> int:
        """The congruence, `index` times."""
        power = pow(FACTOR, index, MOBILES * (FACTOR - 1))
        return (power * self._place + STEP * ((power - 1) // (FACTOR - 1))) % MOBILES

    def _walk(self, index: int) -> Iterator[str]:
        place = self._at(index)
        while True:
            yield _shown(place)
            place = (FACTOR * place + STEP) % MOBILES


def _shown(place: int) -> str:
    return f"+33{FIRST + place}"


def random_numbers(count: int, seed: int) -> Sequence[str]:
    """Different mobiles in random order, as they come in life."""
    return Numbers(count, seed)[:]
