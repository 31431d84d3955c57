"""The gradient of the Dice loss: two levels per set of voxels, and what smoothing does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from truevox.errors import SettingsError

__all__ = ["DiceField", "Over", "dice_field", "empty_push"]

Floats = NDArray[np.float64]
Over = Literal["I", "CI", "BI", "BCI"]
_OVER: tuple[Over, ...] = ("I", "CI", "BI", "BCI")


@dataclass(frozen=True, eq=False)
class DiceField:
    """Value and gradient of a Dice loss.

    Parameters
    ----------
    loss : float
    foreground, background : arrays (B, C), (B, 1), (1, C) or (1, 1)
        The derivative of the loss by a prediction in voxels with label 1, and with label 0, of every set of
        voxels. Negative: descent raises the prediction.
    gradient : array (B, C, *spatial)
        The same, voxel by voxel.
    """

    loss: float
    foreground: Floats
    background: Floats
    gradient: Floats

    def on_logits(
        self, probabilities: ArrayLike, activation: Literal["sigmoid", "softmax"] = "sigmoid"
    ) -> Floats:
        """The gradient by the logits, (B, C, *spatial).

        Parameters
        ----------
        probabilities : array (B, C, *spatial)
            Those the field was made of.
        activation : {"sigmoid", "softmax"}

        Raises
        ------
        SettingsError
            If the activation is not known.

        Examples
        --------
        >>> t = np.full((1, 1, 4), 0.5)
        >>> dice_field([[[1, 0, 0, 0]]], t).on_logits(t).round(4).tolist()
        [[[-0.1389, 0.0278, 0.0278, 0.0278]]]
        """
        t = np.asarray(probabilities, dtype=np.float64)
        if activation == "sigmoid":
            return self.gradient * t * (1 - t)
        if activation == "softmax":
            return t * (self.gradient - (self.gradient * t).sum(1, keepdims=True))
        raise SettingsError(
            "Unknown activation.", got=activation, expected="sigmoid, softmax", remedy="choose one of these"
        )


def dice_field(
    truth: ArrayLike,
    prediction: ArrayLike,
    over: Over = "I",
    smooth_nr: float = 0.0,
    smooth_dr: float = 0.0,
    *,
    first_channel: int = 0,
) -> DiceField:
    """Loss and gradient of one minus the mean Dice over sets of voxels, with smoothing as in training.

    Parameters
    ----------
    truth : array (B, C, *spatial)
        Zeros and ones.
    prediction : array (B, C, *spatial)
        In [0, 1].
    over : "I", "CI", "BI" or "BCI"
        The axes of one set: image, class, batch; as for :class:`truevox.losses.SoftDice`.
    smooth_nr, smooth_dr : float
        In voxels. A set of 0/0 has Dice 0 and gradient 0.
    first_channel : int
        Channels before it do not count: 1 leaves out the background of a softmax.

    Returns
    -------
    DiceField
        With the levels of the channels that count.

    Raises
    ------
    SettingsError
        If the shapes differ, truth is not 0 or 1, or a setting does not fit.

    Notes
    -----
    With ``A = 2 sum y t + nr`` and ``U = sum y + sum t + dr`` Dice is ``A / U``. The derivative of the loss
    is ``A / U^2`` in the background and ``-(2 U - A) / U^2`` in the foreground, over the number of sets. In a
    set without foreground it is ``nr / U^2``: see :func:`empty_push`.

    References
    ----------
    Tilborghs et al. (2022), The Dice loss in the context of missing or empty labels: introducing Phi and
    epsilon.

    Examples
    --------
    >>> y, t = [1, 1, 1, 0, 0, 0, 0, 0], [0.9, 0.6, 0.3, 0.4, 0.2, 0.1, 0.05, 0]
    >>> field = dice_field([[y]], [[t]])
    >>> round(field.loss, 6), round(float(field.foreground[0, 0]), 6), round(float(field.background[0, 0]), 6)
    (0.351351, -0.243487, 0.116874)
    """
    y, t = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if y.shape != t.shape or y.ndim < 3:
        raise SettingsError(
            "Truth and prediction are (B, C, *spatial), of one shape.",
            got=f"{y.shape} and {t.shape}",
            remedy="add the axes of batch and channel to both: [None, None]",
        )
    if not ((y == 0) | (y == 1)).all():
        raise SettingsError(
            "The truth of a gradient field is 0 or 1.",
            got=np.unique(y)[:5].tolist(),
            remedy="threshold the truth, or pass one channel per class",
        )
    if over not in _OVER:
        raise SettingsError(
            "`over` does not fit.",
            got=over,
            expected=", ".join(_OVER),
            remedy="choose one of these for over=",
        )
    if not (smooth_nr >= 0 and smooth_dr >= 0 and 0 <= first_channel < y.shape[1]):
        raise SettingsError(
            "Smoothing is at least 0, and a channel has to remain.",
            got=(smooth_nr, smooth_dr),
            remedy="write smoothing as 0 or more, and first_channel=0 to keep them all",
        )
    used, shown = y[:, first_channel:], t[:, first_channel:]
    axes = tuple(k for k, name in enumerate("BC") if name in over) + tuple(range(2, y.ndim))
    above = 2 * (used * shown).sum(axes, keepdims=True) + smooth_nr
    below = (used + shown).sum(axes, keepdims=True) + smooth_dr
    inverse = np.divide(1.0, below, out=np.zeros_like(below), where=below > 0)
    background = above * inverse**2 / below.size
    foreground = background - 2 * inverse / below.size
    gradient = np.zeros_like(t)
    gradient[:, first_channel:] = np.where(used == 1, foreground, background)
    sets = below.shape[:2]
    return DiceField(
        float(1 - (above * inverse).mean()), foreground.reshape(sets), background.reshape(sets), gradient
    )


def empty_push(volume: ArrayLike, smooth: ArrayLike) -> Floats:
    """How strongly the Dice of a set without foreground pushes a predicted volume down: ``e / (V + e)^2``.

    Parameters
    ----------
    volume : array
        Sum of the predictions over the set, in voxels.
    smooth : array
        Smoothing of numerator and denominator, in voxels.

    Returns
    -------
    array
        Largest, ``1 / (4 V)``, where smoothing is as large as the volume; next to nothing where it is tiny.

    Examples
    --------
    >>> empty_push(100, [1e-7, 50, 100, 200]).round(7).tolist()
    [0.0, 0.0022222, 0.0025, 0.0022222]
    """
    v, e = np.asarray(volume, dtype=np.float64), np.asarray(smooth, dtype=np.float64)
    total = v + e
    return np.divide(e, total**2, out=np.zeros(np.broadcast_shapes(v.shape, e.shape)), where=total > 0)
