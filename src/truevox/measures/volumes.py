"""Volumes in ml, or in pixels: expected (sum of probabilities) and by threshold (count of voxels)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from truevox.errors import LabelError, SettingsError
from truevox.io.access import label_counts
from truevox.io.segments import Segments
from truevox.labels import Labels
from truevox.origin import Origin

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["Method", "Volume", "volume", "volumes_of"]

Method = Literal["expected", "threshold"]

# Float32 softmaxes, and linear interpolation of them, leave [0, 1] by rounding only.
_SLACK = 1e-3


@dataclass(frozen=True, repr=False)
class Volume:
    """A volume and how it was computed.

    Parameters
    ----------
    ml : float
        Millilitres; NaN where the status is not ``"ok"``, and where the file says no spacing.
    method : {"expected", "threshold"}
    status : {"ok", "uncovered"}
        ``uncovered``: the image has voxels that no prediction reached (NaN).
    label : str
        Name of the class.
    px : float
        Pixels (of one slice) or voxels, where the file says no spacing; NaN elsewhere.
    unit : {"ml", "px²", "px³"}
        Of :attr:`value`, which is what ``float()`` gives.
    note : str
        How far it can be trusted: the loss, calibrated or not, and what validation found of such volumes.
    origin : Origin, optional
        The same as numbers; None where it is not known.

    Examples
    --------
    >>> float(Volume(12.5, "expected", "ok", "lesion")), Volume(12.5, "expected", "ok", "lesion").id
    (12.5, 'volume/expected')
    """

    ml: float
    method: Method
    status: Literal["ok", "uncovered"]
    label: str
    px: float = math.nan
    unit: str = "ml"
    note: str = field(default="", repr=False, compare=False)
    origin: Origin | None = field(default=None, repr=False, compare=False)

    @property
    def value(self) -> float:
        """The number in :attr:`unit`."""
        return self.ml if self.unit == "ml" else self.px

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        said = f"method={self.method!r}, status={self.status!r}, label={self.label!r}"
        return f"Volume({self.unit}={self.value!r}, {said})"

    @property
    def id(self) -> str:
        """The definition, e.g. ``"volume/expected"``."""
        return f"volume/{self.method}"


def volume(
    image: Image, method: Method = "expected", threshold: float = 0.5, labels: Labels | None = None
) -> Volume | dict[str, Volume]:
    """Volume of every class of an image, in ml.

    Parameters
    ----------
    image : Image
        Probabilities (C, I, J, K), or labels.
    method : {"expected", "threshold"}
        ``"expected"``: the sum of the probabilities times the volume of a voxel, which is unbiased if
        the probabilities are. ``"threshold"``: the volume of the mask: for one channel, or overlapping
        regions, the voxels strictly above ``threshold``; for exclusive classes (softmax), those whose
        most probable class it is. On a label image both are the count of its voxels.
    threshold : float
        Between 0 and 1. Exclusive classes have none: there the most probable class decides.
    labels : Labels, optional
        Names of the classes; ``image.labels`` by default, which they must not contradict. Without either, a
        single channel, or a single foreground value, is ``"foreground"``.

    Returns
    -------
    Volume or dict of str to Volume
        One where there is one class, else one per name.

    Raises
    ------
    LabelError
        If the image holds logits or intensities, several classes without names, a number of channels
        that the label table does not have, or values outside of [0, 1]; or if the labels asked for contradict
        those of the image.
    SettingsError
        If the method is unknown, or the threshold is not between 0 and 1 or has no meaning.

    Notes
    -----
    The volume of a voxel is the determinant of the affine: right for oblique and sheared grids. Sums
    are float64. NaN voxels make the status ``"uncovered"`` and the value NaN. On a grid in pixels (a picture
    without a spacing) there are no millilitres: ``ml`` is NaN, ``px`` the sum or count, ``unit`` px² or px³.

    Examples
    --------
    >>> import truevox as tv
    >>> p = tv.Image(np.full((1, 10, 10, 10), 0.25, np.float32), tv.Grid((10, 10, 10)), kind="probability")
    >>> volume(p).ml, volume(p, method="threshold").ml
    (0.25, 0.0)
    >>> mask = tv.Image(np.ones((1, 10, 10, 10), np.uint8), tv.Grid((10, 10, 10)), kind="label")
    >>> volume(mask)
    Volume(ml=1.0, method='expected', status='ok', label='foreground')
    """
    table = labels if labels is not None else image.labels
    _check_settings(method, threshold, table)
    if image.kind not in ("label", "probability"):
        raise LabelError(
            f"An image of kind '{image.kind}' has no volume.",
            expected="probabilities or labels",
            remedy="put Sigmoid or Softmax after the network"
            if image.kind == "logits"
            else 'say what its numbers are: kind="probability" or kind="label"',
        )
    array, (size, unit) = image.numpy(), image.grid.voxel_measure
    if image.kind == "label" and labels is not None and image.labels not in (None, labels):
        path = Path() if image.header is None else image.header.path
        segments = Segments(array, path, image.labels)
        found = [
            _volume(name, float(np.count_nonzero(segments.mask(places))), size, unit, method)
            for name, places in segments.asked(labels).items()
        ]
    else:
        found = volumes_of(array, image.kind, size, method, threshold, table, unit=unit)
    # Validation looked at decided labels, and at masks above one half: other thresholds are not known.
    seen = "threshold" if image.kind == "label" else method if threshold == 0.5 else "threshold elsewhere"
    found = [replace(one, origin=image.origin, note=_note(image, one.label, seen)) for one in found]
    return found[0] if len(found) == 1 else {one.label: one for one in found}


def _note(image: Image, label: str, method: str) -> str:
    return Origin.unknown_note(method) if image.origin is None else image.origin.note(label, method)


def volumes_of(
    array: NDArray,
    kind: Literal["label", "probability"],
    voxel_size: float,
    method: Method = "expected",
    threshold: float = 0.5,
    labels: Labels | None = None,
    *,
    unit: str = "ml",
) -> list[Volume]:
    """:func:`volume` on a plain array (C, I, J, K), always as a list. Loads no torch.

    ``voxel_size`` and ``unit`` are those of :attr:`truevox.Grid.voxel_measure`.

    Raises
    ------
    LabelError
        As :func:`volume`.

    Examples
    --------
    >>> volumes_of(np.array([[[[1, 2, 2]]]]), "label", 0.5, labels=Labels({"a": 1, "b": 2}))[1]
    Volume(ml=1.0, method='expected', status='ok', label='b')
    """
    if kind == "label":
        voxels = _counts(array, labels)
    else:
        channels = _channels(array, labels)
        _check_range(array)
        voxels = (
            _sums(array, channels) if method == "expected" else _decided(array, channels, threshold, labels)
        )
    return [_volume(name, n, voxel_size, unit, method) for name, n in voxels]


def _volume(label: str, voxels: float, voxel_size: float, unit: str, method: Method) -> Volume:
    size, status = float(voxels * voxel_size), "uncovered" if np.isnan(voxels) else "ok"
    if unit == "ml":
        return Volume(size, method, status, label)
    return Volume(math.nan, method, status, label, size, unit)


def _check_settings(method: str, threshold: float, labels: Labels | None) -> None:
    if method not in ("expected", "threshold"):
        raise SettingsError(
            "Unknown method for a volume.",
            got=method,
            expected="expected or threshold",
            remedy='method="expected" sums probabilities, method="threshold" counts voxels',
        )
    if not 0 < threshold < 1:
        raise SettingsError(
            "A threshold lies between 0 and 1.", got=threshold, remedy="threshold=0.5 is usual"
        )
    if threshold != 0.5 and method == "expected":
        raise SettingsError(
            "An expected volume has no threshold.", got=threshold, remedy='method="threshold"'
        )
    if threshold != 0.5 and labels is not None and labels.activation == "softmax":
        raise SettingsError(
            "Exclusive classes have no threshold: the most probable class decides.",
            got=threshold,
            remedy="leave the threshold out, or declare the classes as regions of their own",
        )


def _counts(array: NDArray, labels: Labels | None) -> Iterable[tuple[str, float]]:
    """Voxels per class of a label image; a 4D one holds a mask per overlapping region."""
    if array.dtype.kind not in "iub":
        raise LabelError(
            "A label image holds integers.",
            got=str(array.dtype),
            remedy='convert it by .astype(int) if all its values are whole, or say kind="probability"',
        )
    if labels is None:
        low, high = int(array.min()), int(array.max())
        value = high or low
        count = int(np.count_nonzero(array))
        if len(array) > 1 or count != np.count_nonzero(array == value) * (value != 0):
            raise LabelError(
                "The image has several classes and no names for them.",
                remedy='pass labels=Labels({"name": value, ...}), or {"name": [values]} for their union',
            )
        return [("foreground", float(count))]
    if len(array) > 1:
        return [
            (name, float(np.count_nonzero(m)))
            for name, m in zip(labels.names, labels.masks(array), strict=True)
        ]
    count = label_counts(array)
    labels.check(np.array(list(count)))
    wanted = {name: {v for _, v in labels.places(name, 1) if v is not None} for name in labels.names}
    return [(name, float(sum(count.get(v, 0) for v in values))) for name, values in wanted.items()]


def _channels(array: NDArray, labels: Labels | None) -> dict[str, int]:
    if labels is not None:
        if len(array) != labels.channels:
            raise LabelError(
                "Channels and label table differ.",
                got=len(array),
                expected=labels.channels,
                remedy="pass the label table that the probabilities were predicted with",
            )
        return labels.channel_names
    if len(array) > 1:
        raise LabelError(
            "The image has several channels and no names for them.",
            got=f"{len(array)} channels",
            remedy="pass labels=, the label table of the model",
        )
    return {"foreground": 0}


def _check_range(array: NDArray) -> None:
    low, high = float(np.fmin.reduce(array, axis=None)), float(np.fmax.reduce(array, axis=None))
    if low < -_SLACK or high > 1 + _SLACK:
        raise LabelError(
            "An image of probabilities leaves [0, 1].",
            got=f"{low:g} to {high:g}",
            remedy="put Sigmoid or Softmax after the network",
        )


def _sums(array: NDArray, channels: dict[str, int]) -> Iterable[tuple[str, float]]:
    """Sum per channel; NaN where a voxel is."""
    return [(name, float(array[c].sum(dtype=np.float64))) for name, c in channels.items()]


def _decided(
    array: NDArray, channels: dict[str, int], threshold: float, labels: Labels | None
) -> Iterable[tuple[str, float]]:
    if labels is not None and labels.activation == "softmax":
        if np.isnan(array.sum()):
            return [(name, float("nan")) for name in channels]
        winner = array.argmax(0)
        return [(name, float(np.count_nonzero(winner == c))) for name, c in channels.items()]
    return [
        (name, float("nan") if np.isnan(array[c].sum()) else float(np.count_nonzero(array[c] > threshold)))
        for name, c in channels.items()
    ]
