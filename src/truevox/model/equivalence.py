"""What an option does to predictions: the same cases with and without it, side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import GraphError, SettingsError
from truevox.files import software, write_csv, write_json
from truevox.image import Image
from truevox.labels import Labels
from truevox.metrics import evaluate
from truevox.model.memory import peak_since, start_peak
from truevox.model.options import Options
from truevox.model.prediction import predict

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["Difference", "Equivalence", "compare"]


@dataclass(frozen=True)
class Difference:
    """How one label of one case differs; ``reference`` is without the options, ``changed`` with them.

    Attributes
    ----------
    dice : float
        Between the two masks; NaN with status ``undefined`` where both are empty.
    reference_ml, changed_ml, difference_ml : float
        Volumes of the masks, and the second minus the first; NaN where lengths are in pixels.
    mean_absolute, max_absolute : float
        Difference of the probabilities over all voxels of the scan.
    time_ratio : float
        Changed over reference: CPU time on a CPU, time on the clock elsewhere. Of the case as a whole.
    memory_ratio : float
        Changed over reference: peak of the process above what it held. NaN where the system does not tell.
    """

    case: str
    output: str
    label: str
    status: str
    dice: float
    reference_ml: float
    changed_ml: float
    difference_ml: float
    mean_absolute: float
    max_absolute: float
    time_ratio: float
    memory_ratio: float


@dataclass(frozen=True)
class Equivalence:
    """A report of differences.

    Attributes
    ----------
    options : dict
        What was changed.
    rows : list of Difference
        One per case, output and label.
    """

    options: dict[str, Any]
    rows: list[Difference]

    def write(self, folder: str | Path) -> None:
        """Write ``equivalence.csv`` and ``equivalence.json``.

        Raises
        ------
        FileError
            If a file can't be written.
        """
        rows = [asdict(row) for row in self.rows]
        write_csv(Path(folder) / "equivalence.csv", rows, [f.name for f in fields(Difference)])
        summary = {"software": software(), "options": self.options, "summary": self.summary(), "rows": rows}
        write_json(Path(folder) / "equivalence.json", summary)

    def summary(self) -> dict[str, Any]:
        """The worst and the mean over all rows, undefined ones left out and counted."""
        kept = [row for row in self.rows if row.status != "undefined"]

        def over(name: str, function: Any) -> float:
            values = np.array([getattr(row, name) for row in self.rows], dtype=float)
            values = values[np.isfinite(values)]
            return float(function(values)) if values.size else math.nan

        return {
            "rows": len(self.rows),
            "undefined": len(self.rows) - len(kept),
            "dice_mean": over("dice", np.mean),
            "dice_min": over("dice", np.min),
            "difference_ml_mean": over("difference_ml", np.mean),
            "difference_ml_largest": over("difference_ml", lambda v: v[np.abs(v).argmax()]),
            "mean_absolute": over("mean_absolute", np.mean),
            "max_absolute": over("max_absolute", np.max),
            "time_ratio": over("time_ratio", np.mean),
            "memory_ratio": over("memory_ratio", np.mean),
        }

    def __str__(self) -> str:
        what = ", ".join(f"{name}={value}" for name, value in self.options.items())
        head = (
            "case",
            "output",
            "label",
            "dice",
            "ml",
            "difference",
            "mean |dp|",
            "max |dp|",
            "time",
            "memory",
        )
        lines: list[tuple[str, ...]] = [head]
        for r in self.rows:
            numbers = (
                f"{r.dice:.4f}", f"{r.reference_ml:.2f}", f"{r.difference_ml:+.2f}", f"{r.mean_absolute:.1e}",
                f"{r.max_absolute:.1e}", f"{r.time_ratio:.2f}x", f"{r.memory_ratio:.2f}x",
            )  # fmt: skip
            lines.append((r.case, r.output, r.label, *numbers))
        widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
        table = ["  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([f"With {what}, against the same without:", *table])


def compare(model: Model, cases: Sequence[Any], options: Options) -> Equivalence:
    """Predict cases both ways; see :meth:`truevox.Model.equivalence`.

    Raises
    ------
    SettingsError
        If nothing is changed, or there is no case.
    """
    if not options.changed or not cases:
        raise SettingsError(
            "An equivalence report compares cases with and without an option.",
            got=f"{len(cases)} cases, no option" if not options.changed else "no case",
            remedy="give body_box, whole_volume or precision",
        )
    rows: list[Difference] = []
    for case in cases:
        reference, time_a, memory_a = _measured(model, case, options.plain())
        changed, time_b, memory_b = _measured(model, case, options)
        ratios = (time_b / time_a, memory_b / memory_a)
        for name, image in reference.items():
            rows += _differences(str(case.key), name, image, changed[name], ratios)
    return Equivalence(options.changed, rows)


def _measured(model: Model, case: Any, options: Options) -> tuple[dict[str, Image], float, float]:
    clock = time.process_time if str(options.device).startswith("cpu") else time.perf_counter
    held, begin = start_peak(), clock()
    out = predict(model, case, options)
    return out, max(clock() - begin, 1e-9), max(peak_since(held), 1)


def _differences(case: str, output: str, a: Image, b: Image, ratios: tuple[float, float]) -> list[Difference]:
    if a.kind != "probability":
        raise GraphError(
            "Only probabilities are compared.",
            node=output,
            got=a.kind,
            remedy="put Sigmoid or Softmax behind the output, before they are compared",
        )
    labels = a.labels or Labels({"foreground": 1})
    first, second = a.numpy(), b.numpy()
    found = []
    masks = zip(_masks(first, labels), _masks(second, labels), strict=True)
    for (name, channel), (mask_a, mask_b) in zip(labels.channel_names.items(), masks, strict=True):
        score = evaluate(mask_a, mask_b, a.grid.spacing)["dice"]
        apart = np.abs(first[channel] - second[channel])
        voxel_ml = a.grid.voxel_volume_ml if a.grid.unit == "mm" else float("nan")
        volumes = [float(m.sum()) * voxel_ml for m in (mask_a, mask_b)]
        found.append(
            Difference(
                case,
                output,
                name,
                "undefined" if score.status == "undefined" else "ok",
                score.value,
                volumes[0],
                volumes[1],
                volumes[1] - volumes[0],
                float(apart.mean(dtype=np.float64)),
                float(apart.max()),
                *ratios,
            )
        )
    return found


def _masks(probabilities: NDArray, labels: Labels) -> list[NDArray]:
    """One mask per class, as the label table decides."""
    decided = labels.decode(probabilities)
    if not labels.exclusive:
        return [mask > 0 for mask in decided]
    values = [v if isinstance(v, int) else v[0] for v in labels.names.values()]
    return [decided[0] == value for value in values]
