"""Metrics where nobody knows how large a pixel is: the same definitions, with lengths in pixels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from truevox.errors import SettingsError

if TYPE_CHECKING:
    from truevox.metrics.pair import Pair
    from truevox.metrics.registry import Definition

__all__ = ["SUFFIX", "in_millimetres", "in_pixels"]

SUFFIX = "/px"
"""What ids and names of such metrics end with."""
_IN_MM, _IN_PX = re.compile(r"(?<=\d)mm\b"), re.compile(r"(?<=\d)px\b")
_IN_ML = re.compile(r"(?<=\d)ml\b")
_PER_ML = 1000.0


def in_millimetres(name: str) -> tuple[str, bool]:
    """The name that a metric in pixels has in millimetres, and whether it was one in pixels.

    Examples
    --------
    >>> in_millimetres("nsd@2px"), in_millimetres("hd95/px"), in_millimetres("hd95")
    (('nsd@2mm', True), ('hd95', True), ('hd95', False))
    """
    plain = name.removesuffix(SUFFIX)
    found = _IN_PX.sub("mm", plain)
    return found, found != name


def in_pixels(metric: Definition, *, thresholds: bool = False) -> Definition:
    """A metric whose distances are in px and whose volumes are in px³ (counts of voxels).

    Parameters
    ----------
    metric : Definition
        In mm and ml.
    thresholds : bool
        Whether numbers in its name are in pixels too.

    Raises
    ------
    SettingsError
        If the metric needs a length in mm, or a volume in ml, that nobody can tell.

    Examples
    --------
    >>> from truevox.metrics.registry import definition
    >>> definition("hd95/px").unit, definition("volume_difference_ml/px").name, definition("nsd@2px").id
    ('px', 'volume_difference/px', 'nsd@2px/voxel/pooled/px')
    """
    if metric.id.endswith(SUFFIX):
        raise SettingsError(
            f"'{metric.name}' is in pixels already.", expected=metric.name, remedy=f"write {metric.name} once"
        )
    if _IN_ML.search(metric.id) or (_IN_MM.search(metric.id) and not thresholds):
        other = _IN_MM.sub("px", metric.name)
        instead = f"ask for {other}" if other != metric.name else "leave this metric out"
        raise SettingsError(
            f"'{metric.name}' needs to know how large a pixel is.",
            remedy=f"write the spacing into the files (.nii.gz, .nrrd, TIFF with a resolution); or {instead}",
        )
    identifier, name = (_IN_MM.sub("px", text) for text in (metric.id, metric.name))
    named = replace(metric, id=f"{identifier}{SUFFIX}", name=f"{name}{SUFFIX}")
    if metric.unit == "mm":
        return replace(named, unit="px")
    if metric.unit != "ml":
        return named
    return replace(
        named,
        name=f"{name.removesuffix('_ml')}{SUFFIX}",
        unit="px³",
        compute=_scaled(metric.compute),
        missed=_scaled(metric.missed),
        spurious=_scaled(metric.spurious),
    )


def _scaled(of: Callable[[Pair], float]) -> Callable[[Pair], float]:
    return lambda pair: _PER_ML * of(pair)
