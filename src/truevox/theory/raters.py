"""What volume a loss makes of the masks of several raters of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from truevox.errors import SettingsError
from truevox.theory.criteria import Criterion
from truevox.theory.maps import LabelMaps, from_maps
from truevox.theory.optimum import Optimum, local_optimum, optimum
from truevox.theory.risk import expected_score

__all__ = ["RaterVolume", "rater_volumes"]

Search = Literal["global", "descent", "none"]


@dataclass(frozen=True)
class RaterVolume:
    """The volume that one rule gives where raters disagree.

    Parameters
    ----------
    loss : str
        The loss whose optimum it is; "cross_entropy"; or "threshold": the voxels that more than half of the
        raters mark.
    law : str
        "raters": the masks as they are; "independent": the same probability of every voxel, and voxels
        independent; "nested": the same, and masks that contain each other; "averaged": the mean of the masks
        as a soft label.
    search : {"global", "descent", "none"}
        The best prediction of all, the one that gradient descent from 1/2 reaches, or no search.
    raters : int
    expected_volume, volume : float
        Mean over the raters, and that of the rule.
    expected_score : float
        One minus the expected loss of the rule's prediction under its law.
    """

    loss: str
    law: str
    search: Search
    raters: int
    expected_volume: float
    volume: float
    expected_score: float

    @property
    def bias(self) -> float:
        """``volume - expected_volume``."""
        return self.volume - self.expected_volume

    @property
    def relative_bias(self) -> float:
        """Bias over expected volume; NaN where no rater marks anything."""
        return self.bias / self.expected_volume if self.expected_volume > 0 else float("nan")

    @property
    def status(self) -> Literal["ok", "undefined"]:
        """``undefined``: no rater marks anything, and relative bias and score mean nothing."""
        return "ok" if self.expected_volume > 0 else "undefined"


def rater_volumes(
    masks: ArrayLike, voxel_size: float = 1.0, loss: str | Criterion = "dice"
) -> list[RaterVolume]:
    """How large a volume a loss makes of this disagreement, beside cross-entropy and a threshold.

    Parameters
    ----------
    masks : array (R, *spatial)
        One mask per rater, on one grid.
    voxel_size : float
        With ml, volumes come out in ml.
    loss : name or criterion
        An overlap, as for :func:`optimum`.

    Returns
    -------
    list of RaterVolume
        Cross-entropy, the threshold, then the loss under every law. What is true of "raters" holds if these
        raters are all there are, each as probable; the others show how much hangs on how voxels belong
        together, which few raters can't tell.

    Raises
    ------
    SettingsError
        If there is one rater only, or masks are none.

    Examples
    --------
    Three of five raters draw ten voxels, the others thirty:

    >>> for one in rater_volumes([[1] * 10 + [0] * 20] * 3 + [[1] * 30] * 2):
    ...     print(f"{one.loss:13} {one.law:11} {one.search:7} {one.volume:4.1f} {one.bias:+5.1f}")
    cross_entropy raters      none    18.0  +0.0
    threshold     raters      none    10.0  -8.0
    dice          raters      global  10.0  -8.0
    dice          raters      descent 10.0  -8.0
    dice          independent global  30.0 +12.0
    dice          nested      global  10.0  -8.0
    dice          averaged    global  30.0 +12.0
    """
    maps = from_maps(masks, voxel_size=voxel_size)
    count = len(maps.law.weights)
    if count < 2:
        raise SettingsError(
            "One rater can't disagree.",
            got=f"{count} mask",
            expected="masks of two raters or more",
            remedy="give the masks of a second rater of the same case",
        )
    name = loss if isinstance(loss, str) else type(loss).__name__
    p = maps.law.probabilities
    found = [
        _plain(maps, p, "cross_entropy", loss),
        _plain(maps, (p > 0.5).astype(np.float64), "threshold", loss),
    ]
    descent = (
        local_optimum(law=maps.law, loss=loss) if maps.law.expected_volume > 0 else optimum(law=maps.law)
    )
    searched: list[tuple[str, Search, Optimum]] = [
        ("raters", "global", optimum(law=maps.law, loss=loss)),
        ("raters", "descent", descent),
        ("independent", "global", optimum(law=maps.independent(), loss=loss)),
        ("nested", "global", optimum(law=maps.nested(), loss=loss)),
        ("averaged", "global", optimum(law=maps.averaged(), loss=loss)),
    ]
    return found + [
        RaterVolume(name, law, search, count, best.expected_volume, best.volume, best.expected_score)
        for law, search, best in searched
    ]


def _plain(maps: LabelMaps, t: np.ndarray, name: str, loss: str | Criterion) -> RaterVolume:
    score = expected_score(t, maps.law, loss)
    volume = float(t @ maps.law.sizes)
    return RaterVolume(name, "raters", "none", len(maps.law.weights), maps.law.expected_volume, volume, score)
