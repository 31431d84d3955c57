"""Value: a number with its unit and its status; and what happens when a mask is empty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from truevox.errors import SettingsError

__all__ = ["Empty", "Status", "Value", "Values"]

Status = Literal["ok", "undefined", "missed", "spurious"]


@dataclass(frozen=True)
class Value:
    """One number of one case.

    Parameters
    ----------
    value : float
        NaN where it is undefined.
    status : {"ok", "undefined", "missed", "spurious"}
        ``undefined``: there is nothing to measure, ``reason`` says why; ``missed``: the prediction is empty
        and the reference is not; ``spurious``: the reverse. The last two hold a number by the policy
        :class:`Empty`.
    unit : str
        ``"1"`` for ratios, ``"mm"``, ``"ml"``, ``"count"``.
    reason : str
        Why the status is not ``"ok"``, in a few words; ``""`` otherwise.

    Examples
    --------
    >>> float(Value(0.5, "ok", "1"))
    0.5
    """

    value: float
    status: Status
    unit: str
    reason: str = ""

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True)
class Empty:
    """What a metric says when a mask is empty; one policy for all metrics.

    Parameters
    ----------
    both : {"undefined", "perfect"}
        Both masks are empty: NaN (the default), or the metric's best value. The status is ``undefined``
        either way: an average that uses such a value says of how many.
    missed, spurious : {"worst", "undefined"}
        Only the prediction, or only the reference, is empty: the metric's worst value (the default: 0 for
        overlaps, the diagonal of the image in mm for distances), or NaN. A metric that has no meaning
        there (the sensitivity to nothing) is NaN in any case.

    Raises
    ------
    SettingsError
        If a word is not one of these.

    References
    ----------
    Maier-Hein et al. (2024), Metrics reloaded: recommendations for image analysis validation.

    Examples
    --------
    >>> Empty(both="perfect")
    Empty(both='perfect', missed='worst', spurious='worst')
    """

    both: Literal["undefined", "perfect"] = "undefined"
    missed: Literal["worst", "undefined"] = "worst"
    spurious: Literal["worst", "undefined"] = "worst"

    def __post_init__(self) -> None:
        words = {"both": ("undefined", "perfect")}
        for name in ("both", "missed", "spurious"):
            allowed = words.get(name, ("worst", "undefined"))
            if getattr(self, name) not in allowed:
                raise SettingsError(
                    f"Empty does not know {name}.",
                    got=getattr(self, name),
                    expected=" or ".join(allowed),
                    remedy=f"choose one of these for {name}=",
                )


class Values(Mapping[str, Value]):
    """Values by id; a short name (``"dice"``) finds its default definition (``"dice/voxel"``).

    Examples
    --------
    >>> found = Values({"dice/voxel": Value(0.5, "ok", "1")})
    >>> found["dice"].value, list(found)
    (0.5, ['dice/voxel'])
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        if name in self._values:
            return self._values[name]
        from truevox.metrics.registry import definition

        try:
            return self._values[definition(name).id]
        except SettingsError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        lines = (f"  {key}: {v.value:.6g} {v.unit} {v.status}" for key, v in self._values.items())
        return "\n".join(["Values", *lines])
