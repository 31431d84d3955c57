"""clDice: whether the centre lines of one mask lie in the other.

References
----------
Shit et al. (2021), clDice: a novel topology-preserving loss function for tubular structure segmentation;
Zhang and Suen (1984), Lee, Kashyap and Chu (1994), thinning in 2D and 3D, as scikit-image does it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from truevox.errors import GeometryError, SettingsError
from truevox.metrics.bands import depth_squares
from truevox.metrics.overlap import worst
from truevox.metrics.pair import Pair
from truevox.metrics.registry import Definition, Family, no_parameter, register, words

__all__ = ["skeleton"]


def skeleton(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Centre lines of a mask, of one shape with it.

    Thinning leaves nothing of some bodies (an even cube): then it is their deepest voxels.

    Raises
    ------
    GeometryError
        If the mask has one axis only.
    SettingsError
        If scikit-image is not installed.
    """
    if mask.ndim < 2:
        raise GeometryError(
            "A mask of one axis has no centre line.",
            got=mask.shape,
            expected="2 or 3 axes",
            remedy="leave cldice out",
        )
    try:
        from skimage.morphology import skeletonize
    except ImportError:
        raise SettingsError(
            "cldice needs scikit-image.", remedy="pip install 'truevox[skeleton]', or leave cldice out"
        ) from None
    thin = np.asarray(skeletonize(mask)) > 0
    if not thin.any() and mask.any():
        depth, _ = depth_squares(mask, spacing)
        thin = mask & (depth == depth[mask].max())
    return thin


def _cldice(pair: Pair) -> float:
    p, r = pair.cut
    shares = []
    for one, other in ((p, r), (r, p)):
        lines = skeleton(one, pair.spacing)
        shares.append(np.count_nonzero(lines & other) / np.count_nonzero(lines))
    return 2 * shares[0] * shares[1] / (shares[0] + shares[1]) if any(shares) else 0.0


_CLDICE = Definition(
    "cldice/skeleton", "cldice", "1", 0, 1, "higher", _cldice, 1, worst, worst,
    summary="harmonic mean of |S_P ∩ R| / |S_P| and |S_R ∩ P| / |S_R|, S the skeletons",
)  # fmt: skip


def _of(parameter: str | None, variants: tuple[str, ...]) -> Definition:
    no_parameter("cldice", parameter)
    words("cldice", variants, ("skeleton",))
    return _CLDICE


register(Family("cldice", _of, "cldice", "Centre-line Dice"))
