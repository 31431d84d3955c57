"""Expected volumes where the probabilities were not kept: as ``truevox predict`` measured them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from truevox.cohort.found import without_suffix
from truevox.errors import FileError
from truevox.files import read_json
from truevox.io.registry import bare

__all__ = ["Measured", "measured_volumes", "volumes_file"]

_CLOSE = 1e-6


class Measured(NamedTuple):
    """Volumes of a label in a case, in ml or pixels: expected, and that of the label map beside it."""

    expected: float
    threshold: float

    def belongs_to(self, volume: float) -> bool:
        """Whether a label map of this volume is the one that was written along.

        Examples
        --------
        >>> Measured(1.2, 1.0).belongs_to(1.0), Measured(1.2, 1.0).belongs_to(0.9)
        (True, False)
        """
        return math.isclose(volume, self.threshold, rel_tol=_CLOSE, abs_tol=1e-12)


def volumes_file(prediction: Path | None) -> Path | None:
    """``volumes.json`` beside a prediction, if there is one."""
    path = None if prediction is None else bare(prediction).parent / "volumes.json"
    return path if path is not None and path.is_file() else None


def measured_volumes(prediction: Path | None, output: str) -> dict[str, Measured]:
    """Volumes of ``volumes.json`` beside a prediction, by label; none if it does not say them.

    Parameters
    ----------
    prediction : path
        ``<case>/<output>.nii.gz``.
    output : str
        Name of the output; that of the file is looked for too.
    """
    path = volumes_file(prediction)
    if path is None or prediction is None:
        return {}
    try:
        outputs = read_json(path)["outputs"]
        one = outputs.get(output) or outputs[without_suffix(bare(prediction).name)]
        key = "volume_ml" if one.get("unit", "ml") == "ml" else "volume_px"
        return {
            str(label): Measured(_number(found[key]), _number(one["threshold"][label][key]))
            for label, found in one["expected"].items()
        }
    except (FileError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
