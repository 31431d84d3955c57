"""The table of volumes of a folder of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from truevox import io
from truevox.errors import FileError, TrueVoxError
from truevox.files import read_json, software
from truevox.io.segments import labelled
from truevox.measures.outputs import Output, find_cases, find_output, read_outputs
from truevox.measures.volumes import Method, volumes_of
from truevox.origin import ORIGIN_COLUMNS, Origin

__all__ = ["VOLUME_COLUMNS", "volumes_table"]

VOLUME_COLUMNS = (
    *("case", "output", "label", "method", "volume_ml", "status", "voxel_volume_ml", "definition", "file"),
    *("software", "message", "volume_px", "unit"),
    *ORIGIN_COLUMNS,
)
"""Order of the columns of ``volumes.csv``.

Where a file says no spacing, ``volume_ml`` is NaN, ``volume_px`` the number of pixels, ``unit`` px² or px³.
"""

NO_SPACING = "The file says no spacing: there are no millilitres, pixels are counted."
_MEASURED = "volumes.json"


def volumes_table(predictions: str | Path, n_jobs: int = 1) -> list[dict[str, Any]]:
    """Volumes of all predictions in a folder, a row per case, label and method.

    Label maps (``<case>/<output>.nii.gz``) give method ``threshold``; probabilities
    (``<case>/<output>_probabilities.nii.gz``) give ``expected``. Where they were not kept, it is taken from
    ``<case>/volumes.json``, which ``truevox predict`` wrote while it had them.

    Parameters
    ----------
    predictions : path
        With ``labels.json`` (:func:`read_outputs`).
    n_jobs : int
        Processes (joblib).

    Returns
    -------
    list of rows with ``VOLUME_COLUMNS``
        The columns from ``loss`` on say what the model was trained with and how its volumes of this label
        and method fared in validation, as ``labels.json`` has it; ``note`` says the same in words. A file
        that can't be used, or is missing, gives rows of status ``"failed"`` with the reason in ``message``.

    Raises
    ------
    FileError
        If the folder or its ``labels.json`` is missing, or it holds no prediction.

    Examples
    --------
    >>> import tempfile, numpy as np, truevox as tv
    >>> from truevox.measures import write_outputs
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_outputs(folder, {"tumour": Output(tv.Labels({"tumour": 1}))})
    >>> mask = tv.Image(np.ones((1, 10, 10, 10), np.uint8), tv.Grid((10, 10, 10)), kind="label")
    >>> tv.save(mask, folder / "p07" / "tumour.nii.gz")
    >>> [(row["case"], row["method"], row["volume_ml"]) for row in volumes_table(folder)]
    [('p07', 'threshold', 1.0)]
    """
    folder = Path(predictions)
    outputs = read_outputs(folder)
    cases = list(find_cases(folder, outputs))
    if not cases:
        raise FileError(
            "The folder holds no predictions.",
            file=folder,
            expected=", ".join(f"<case>/{name}.nii.gz" for name in outputs),
            remedy="run `truevox predict` first",
        )
    work = (delayed(_case_rows)(folder, key, place, outputs) for key, place in cases)
    rows: list[list[dict[str, Any]]] = Parallel(n_jobs=n_jobs)(work)  # type: ignore[assignment]
    return [row for part in rows for row in part]


def _case_rows(root: Path, key: str, folder: Path, outputs: Mapping[str, Output]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, output in outputs.items():
        mask, probabilities = find_output(folder, name), find_output(folder, f"{name}_probabilities")
        if mask is None and probabilities is None:
            rows += _failed(key, name, output, "threshold", "", "The prediction is missing.")
        if mask is not None:
            rows += _file_rows(root, key, name, mask, output, "threshold")
        if probabilities is not None:
            rows += _file_rows(root, key, name, probabilities, output, "expected")
        elif mask is not None and (folder / _MEASURED).is_file():
            rows += _measured_rows(
                root, key, name, folder / _MEASURED, output, rows[-len(output.labels.names) :]
            )
    return rows


def _measured_rows(
    root: Path, key: str, name: str, path: Path, output: Output, counted: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Expected volumes that were written at prediction, if they belong to the label map that is there."""
    relative = path.relative_to(root).as_posix()
    try:
        one = read_json(path)["outputs"][name]
        found = [(label, one["expected"][label], one["threshold"][label]) for label in output.labels.names]
        ours = [(row["volume_ml"], row["volume_px"]) for row in counted]
        theirs = [(_float(t["volume_ml"]), _float(t.get("volume_px"))) for _, _, t in found]
        if not np.allclose(ours, theirs, rtol=1e-6, atol=0, equal_nan=True):
            raise FileError(
                "The label map is not the one that was predicted along with these volumes.",
                remedy="predict again, so that both come from one run",
            )
        return [
            _row(key, name, output, label, "expected", relative)
            | {
                "volume_ml": _float(e["volume_ml"]),
                "status": str(e["status"]),
                "voxel_volume_ml": _float(one["voxel_volume_ml"]),
                "volume_px": _float(e.get("volume_px")),
                "unit": str(one.get("unit", "ml")),
                "message": "" if one.get("unit", "ml") == "ml" else NO_SPACING,
            }
            for label, e, _ in found
        ]
    except TrueVoxError as error:
        return _failed(key, name, output, "expected", relative, error.message)
    except (KeyError, TypeError, ValueError) as error:
        return _failed(
            key, name, output, "expected", relative, f"It holds no volumes of this output: {error}."
        )


def _file_rows(
    root: Path, key: str, name: str, path: Path, output: Output, method: Method
) -> list[dict[str, Any]]:
    relative = path.relative_to(root).as_posix()
    try:
        array, header = io.read(path)
        if method == "threshold":
            array, _ = labelled(array, header, output.labels)
        size, unit = header.grid.voxel_measure
        kind = "label" if method == "threshold" else "probability"
        found = volumes_of(array, kind, size, method, labels=output.labels, unit=unit)
    except TrueVoxError as error:
        return _failed(key, name, output, method, relative, str(error))
    return [
        _row(key, name, output, one.label, method, relative)
        | {
            "volume_ml": one.ml,
            "status": one.status,
            "voxel_volume_ml": size if unit == "ml" else float("nan"),
            "volume_px": one.px,
            "unit": unit,
            "message": "" if unit == "ml" else NO_SPACING,
        }
        for one in found
    ]


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _failed(
    key: str, name: str, output: Output, method: Method, file: str, message: str
) -> list[dict[str, Any]]:
    text = " ".join(message.split())
    return [_row(key, name, output, label, method, file) | {"message": text} for label in output.labels.names]


def _row(key: str, name: str, output: Output, label: str, method: Method, file: str) -> dict[str, Any]:
    origin = output.origin
    known = Origin.unknown_row(method) if origin is None else origin.row(label, method)
    return {
        "case": key,
        "output": name,
        "label": label,
        "method": method,
        "volume_ml": float("nan"),
        "status": "failed",
        "voxel_volume_ml": float("nan"),
        "definition": f"volume/{method}",
        "file": file,
        "software": software(),
        "message": "",
        "volume_px": float("nan"),
        "unit": "",
        **known,
    }
