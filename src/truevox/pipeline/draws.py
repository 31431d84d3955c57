"""Random draws that depend on what is drawn and on nothing else.

A draw is a function of (seed, sample number, node, path of fan-outs): not of the number of workers or
devices, nor of where a run was interrupted.
"""

from __future__ import annotations

import hashlib
import operator
from dataclasses import dataclass, replace

import numpy as np

from truevox.errors import GraphError

__all__ = ["Draw", "case_of_sample"]


def _key(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:16], "little")


@dataclass(frozen=True)
class Draw:
    """What a random number may depend on.

    Parameters
    ----------
    seed : int
        Of the run.
    sample : int
        Global number of the sample (or a case's position in prediction).
    path : tuple of (str, int)
        Axis name and position of every fan-out above.

    Examples
    --------
    >>> a = Draw(0, 7).rng("RandomGamma.1").random()
    >>> a == Draw(0, 7).rng("RandomGamma.1").random(), a == Draw(0, 8).rng("RandomGamma.1").random()
    (True, False)

    Raises
    ------
    GraphError
        If a number is not whole; any type of whole numbers will do.
    """

    seed: int
    sample: int
    path: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", _whole(self.seed, "seed"))
        object.__setattr__(self, "sample", _whole(self.sample, "number of a sample"))

    def at(self, axis: str, position: int) -> Draw:
        """The draw of one element of a fan-out."""
        return replace(self, path=(*self.path, (axis, _whole(position, "position"))))

    def rng(self, node: str) -> np.random.Generator:
        """The generator of one node for this sample."""
        return np.random.Generator(np.random.Philox(key=_key(self.seed, self.sample, node, self.path)))

    def torch_seed(self, purpose: str) -> int:
        """A seed for torch's generator."""
        return _key(self.seed, self.sample, purpose, self.path) % (1 << 63)


def case_of_sample(seed: int, sample: int, cases: int) -> int:
    """Which case sample number ``sample`` looks at: every case once per ``cases`` samples, shuffled.

    Examples
    --------
    >>> sorted(case_of_sample(0, n, 5) for n in range(5, 10))
    [0, 1, 2, 3, 4]
    """
    lap, position = divmod(_whole(sample, "number of a sample"), cases)
    return int(_order(_whole(seed, "seed"), lap, cases)[position])


def _whole(number: int, what: str) -> int:
    """A whole number of any type as Python's, so that 3 draws what 3 draws."""
    if isinstance(number, (bool, np.bool_)) or not hasattr(number, "__index__"):
        raise GraphError(
            f"A {what} is a whole number.",
            got=repr(number),
            remedy="write it without a point or quotes, such as 3",
        )
    return operator.index(number)


_ORDERS: dict[tuple[int, int, int], np.ndarray] = {}


def _order(seed: int, lap: int, cases: int) -> np.ndarray:
    key = (seed, lap, cases)
    if key not in _ORDERS:
        if len(_ORDERS) > 8:
            _ORDERS.clear()
        generator = np.random.Generator(np.random.Philox(key=_key(seed, "order", lap)))
        _ORDERS[key] = generator.permutation(cases)
    return _ORDERS[key]
