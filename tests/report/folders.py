"""Evaluation folders of phantoms: masks on disk, and the tables that go with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])
METRICS = (
    ("dice", "1", "dice/voxel"),
    ("jaccard", "1", "jaccard/voxel"),
    ("hd95", "mm", "hd95/voxel/max"),
    ("volume_difference_ml", "ml", "volume_difference/threshold"),
    ("ece@15", "1", "ece@15/voxel"),
    ("volumetric_similarity", "1", "volumetric_similarity/voxel"),
)
SUMMARY = ("mean", "median", "sd", "ci_low", "ci_high", "n")
LESIONS = (
    "case,output,label,rule,kind,reference_lesion,prediction_lesion,reference_ml,prediction_ml,overlap_ml"
)
LESIONS += ",iou,dice,assd_mm,x_mm,y_mm,z_mm,score,touches"


def table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def ball(shape: Sequence[int], centre: Sequence[float] | np.ndarray, radius: float) -> np.ndarray:
    """Voxels nearer than ``radius`` (voxels) to ``centre``."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    squares = [(a - c) ** 2 for a, c in zip(axes, centre, strict=True)]
    return squares[0] + squares[1] + squares[2] <= radius**2


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def summary_rows(rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows of summary.json; the interval is a normal one, which is all that a report needs to show."""
    groups: dict[tuple[str, ...], list[Sequence[Any]]] = {}
    for row in rows:
        groups.setdefault((row[7], row[1], row[2], row[4], row[6]), []).append(row)
    found = []
    for (output, label, metric, unit, identifier), own in groups.items():
        values = np.array([row[3] for row in own], float)
        values = values[np.isfinite(values)]
        mean, sd = (values.mean(), values.std(ddof=1)) if len(values) > 1 else (np.nan, np.nan)
        half = 1.96 * sd / np.sqrt(max(len(values), 1))
        numbers = (mean, np.median(values) if len(values) else np.nan, sd, mean - half, mean + half)
        counts = {
            f"n_{s}": sum(r[5] == s for r in own) for s in ("undefined", "missed", "spurious", "failed")
        }
        texts = {"output": output, "label": label, "metric": metric, "unit": unit, "definition": identifier}
        values_by_name = {
            name: float(x) if np.isfinite(x) else None
            for name, x in zip(SUMMARY, (*numbers, len(values)), strict=True)
        }
        found.append(texts | values_by_name | counts)
    return found


def write_tables(folder: Path, rows: Sequence[Sequence[Any]], *, run: dict[str, Any] | None = None) -> None:
    """metrics.csv, summary.json and run.json."""
    columns = ("case", "label", "metric", "value", "unit", "status", "definition", "output", "software")
    table(folder / "metrics.csv", columns, [[*row, "truevox 0"] for row in rows])
    summary = {"software": "truevox 0", "cases": 0, "metrics": summary_rows(rows)}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    record = {
        "command": "evaluate",
        "arguments": ["evaluate", "predictions", "references", "--out", "eval"],
        "status": "finished",
        "started": "2026-03-02T10:11:12+00:00",
        "seconds": 75.5,
        "versions": {"python": "3.11", "truevox": "0"},
        "machine": {"system": "Linux", "cpus": 2},
        "settings": {"metrics": "dice, hd95", "empty": "worst"},
    }
    (folder / "run.json").write_text(json.dumps(record | (run or {})), encoding="utf-8")


def many(folder: Path, cases: int, labels: Sequence[str], shift: float, seed: int = 0) -> Path:
    """An evaluation of random numbers without files, as large as asked for."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(cases):
        for label in labels:
            quality = float(np.clip(rng.beta(8, 2) + shift, 0.01, 0.99))
            values = (quality, quality / (2 - quality), 40 * (1 - quality), rng.normal(0, 3), rng.beta(1, 30))
            for (name, unit, identifier), value in zip(METRICS, (*values, 0.5 + quality / 2), strict=True):
                rows.append([f"case_{k:04d}", label, name, float(value), unit, "ok", identifier, "organs"])
    write_tables(folder, rows)
    return folder


def phantoms(folder: Path, data: Path, cases: Sequence[str], error: float, seed: int = 0) -> Path:
    """An evaluation of phantom masks that are on disk, with lesions, images and one structure of two.

    The first case is predicted with a large false positive, the second misses its lesion, the third is
    empty in both masks.
    """
    rng = np.random.default_rng(seed)
    rows, lesions, files = [], [], []
    for k, case in enumerate(cases):
        organ, lesion, found_organ, found_lesion, image = _phantom(rng, error, k)
        place = data / f"p{k:02d}"
        reference = save(data / "references" / f"p{k:02d}.nii.gz", organ + lesion.astype(np.uint8))
        prediction = save(place / f"{folder.name}.nii.gz", found_organ + found_lesion.astype(np.uint8))
        scan = save(data / "images" / f"p{k:02d}.nii.gz", image)
        files.append([case, prediction, reference, scan])
        for label, found, truth in (("organ", found_organ > 0, organ > 0), ("lesion", found_lesion, lesion)):
            rows += _scores(case, label, found, truth, rng)
        lesions += _lesion(case, found_lesion, lesion)
    write_tables(folder, rows, run={"labels": {"organ": [1, 2], "lesion": 2}})
    table(folder / "lesions.csv", LESIONS.split(","), lesions)
    table(folder / "cases.csv", ("case", "prediction", "reference", "image"), files)
    return folder


def _phantom(rng: np.random.Generator, error: float, k: int) -> tuple[np.ndarray, ...]:
    shape, centre = (64, 56, 40), np.array([32, 28, 20]) + rng.uniform(-3, 3, 3)
    bump = centre + np.array([6, 4, 2])
    organ = ball(shape, centre, 14) | ball(shape, bump, 11)
    spot = centre + rng.uniform(-6, 6, 3)
    lesion = ball(shape, spot, rng.uniform(2, 5)) & organ if k != 2 else np.zeros(shape, bool)
    noise = rng.normal(0, error, 3)
    found = ball(shape, centre + noise, 14 + noise[0]) | ball(shape, bump + noise, 11)
    hit = ball(shape, spot + noise, 3.5) if k not in (1, 2) else np.zeros(shape, bool)
    if k == 0:
        found |= ball(shape, [14, 14, 10], 6)
    fov = ball(shape, [32, 28, 20], 30)
    image = 40 * fov + 60 * organ + 50 * lesion + rng.normal(0, 9, shape)
    masks = (organ.astype(np.uint8), lesion, (found | hit).astype(np.uint8), hit)
    return (*masks, image.astype(np.int16))


def _scores(case: str, label: str, found: np.ndarray, truth: np.ndarray, rng: Any) -> list[list[Any]]:
    both, total = int((found & truth).sum()), int(found.sum() + truth.sum())
    state = (
        "ok"
        if found.any() and truth.any()
        else "undefined"
        if total == 0
        else "missed"
        if truth.any()
        else "spurious"
    )
    dice = 2 * both / total if total else np.nan
    ml = 4.5e-3
    values = (
        dice,
        dice / (2 - dice),
        (40 * (1 - dice) if state == "ok" else 120.0 if total else np.nan),
        ml * (int(found.sum()) - int(truth.sum())),
        float(rng.beta(2, 40)),
        1 - abs(int(found.sum()) - int(truth.sum())) / total if total else np.nan,
    )
    rows = []
    for (name, unit, identifier), value in zip(METRICS, values, strict=True):
        status = "ok" if name == "volume_difference_ml" else state
        rows.append([case, label, name, value, unit, status, identifier, "organs"])
    return rows


def _lesion(case: str, found: np.ndarray, truth: np.ndarray) -> list[list[Any]]:
    if not (found.any() or truth.any()):
        return []
    both, ml = int((found & truth).sum()), 4.5e-3
    kind = "matched" if found.any() and truth.any() else "missed" if truth.any() else "spurious"
    reference = ml * truth.sum() if truth.any() else ""
    prediction = ml * found.sum() if found.any() else ""
    iou = both / int((found | truth).sum()) if kind == "matched" else ""
    x, y, z = np.argwhere(truth if truth.any() else found).mean(0) * np.diag(AFFINE)[:3]
    ids = (1 if truth.any() else "", 1 if found.any() else "")
    row = [case, "organs", "lesion", "iou@0.5/optimal/26", kind, *ids, reference, prediction, both * ml, iou]
    return [[*row, 2 * iou / (1 + iou) if iou else "", 1.2 if iou else "", x, y, z, "", ""]]
