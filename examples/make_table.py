"""Write the cohort table of a data set: `python examples/make_table.py hippocampus DIR --out cohort.csv`.

``hippocampus``: the Medical Segmentation Decathlon's task 4, folders ``images/`` and ``labels/`` (or
``imagesTr/`` and ``labelsTr/``); the last 30 cases by name validate, those before them train.
``brats2018``: folders ``case_*/`` with FLAIR, T1 and GT_W (whole tumour); the last case tests, the others
train.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

Row = dict[str, str]


def hippocampus(folder: Path, held_out: int = 30) -> list[Row]:
    """One row per case: image, label (1 anterior, 2 posterior)."""
    images, labels = (next((folder / n for n in names if (folder / n).is_dir()), None) for names in FOLDERS)
    if images is None or labels is None:
        sys.exit(f"{folder} holds no folders images/ and labels/ (or imagesTr/ and labelsTr/)")
    files = sorted(path for path in images.glob("*.nii*") if not path.name.startswith("."))
    rows = []
    for k, path in enumerate(files):
        split = "val" if k >= len(files) - held_out else "train"
        case = path.name.removesuffix(".gz").removesuffix(".nii")
        rows.append({"case": case, "split": split, "image": str(path), "label": str(labels / path.name)})
    return rows


FOLDERS = (("images", "imagesTr"), ("labels", "labelsTr"))


def brats2018(folder: Path) -> list[Row]:
    """One row per case: FLAIR, T1, whole tumour."""
    cases = sorted(path for path in folder.glob("case_*") if path.is_dir())
    rows = []
    for k, path in enumerate(cases):
        files = {"flair": path / "FLAIR.nii.gz", "t1": path / "T1.nii.gz", "tumour": path / "GT_W.nii.gz"}
        split = "test" if k == len(cases) - 1 else "train"
        rows.append({"case": path.name, "split": split, **{name: str(file) for name, file in files.items()}})
    return rows


def main() -> None:
    """Read the arguments, write the table with paths relative to it."""
    parser = argparse.ArgumentParser(description="Write the cohort table of a data set.")
    parser.add_argument("data", choices=("hippocampus", "brats2018"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("cohort.csv"))
    arguments = parser.parse_args()
    rows = {"hippocampus": hippocampus, "brats2018": brats2018}[arguments.data](arguments.folder)
    if not rows:
        sys.exit(f"{arguments.folder} holds no cases")
    place = arguments.out.resolve().parent
    place.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        for row in rows:
            files = {name: value for name, value in row.items() if name not in ("case", "split")}
            table.writerow({**row, **{name: os.path.relpath(value, place) for name, value in files.items()}})


if __name__ == "__main__":
    main()
