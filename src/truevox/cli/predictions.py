"""A folder of predictions as ``truevox predict`` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from truevox.errors import SettingsError, TrueVoxError
from truevox.files import read_json, software, write_json
from truevox.image import Image
from truevox.io import save
from truevox.labels import Labels
from truevox.measures import Output, write_outputs
from truevox.measures.volumes import volumes_of
from truevox.pipeline.volumes import blocks

if TYPE_CHECKING:
    from truevox.cohort import Case
    from truevox.model import Model

__all__ = ["Target"]

_VOLUMES = "volumes.json"


@dataclass(frozen=True)
class Target:
    """Where predictions go.

    Parameters
    ----------
    folder : Path
    model : Model
    identity : str
        Of the model: predictions of another one are not taken for this one's.
    probabilities : bool
        Whether they are kept.
    """

    folder: Path
    model: Model
    identity: str
    probabilities: bool

    def place(self, case: Case) -> Path:
        """``<case>/``, or ``<case>/<record>/``."""
        return self.folder.joinpath(*case.key.split("/"))

    def tables(self) -> dict[str, Labels]:
        """Label table of every output.

        Raises
        ------
        SettingsError
            If an output has none: its probabilities can't become labels.
        """
        found = {name: node.signature.labels for name, node in self.model.predictions.items()}
        if missing := [name for name, table in found.items() if table is None]:
            raise SettingsError(
                f"Output '{missing[0]}' of the model has no label table.",
                remedy="build the model with tv.Network(module, labels=...), and save it again",
            )
        return {name: table for name, table in found.items() if table is not None}

    def write_labels(self) -> None:
        """Write ``labels.json``, which says what the values mean."""
        targets = self.model.targets
        origins = self.model.origins
        outputs = {n: Output(table, targets[n], origins.get(n)) for n, table in self.tables().items()}
        write_outputs(self.folder, outputs)

    def holds(self, case: Case) -> bool:
        """Whether this model's prediction of the case is here, whole.

        Raises
        ------
        SettingsError
            If another model's is.
        """
        place = self.place(case)
        try:
            identity = read_json(place / _VOLUMES).get("model_sha256")
        except (TrueVoxError, AttributeError):
            return False
        if identity != self.identity:
            raise SettingsError(
                "The folder holds predictions of another model.",
                case=case.key,
                file=place,
                remedy="choose another --out, or replace them with --overwrite",
            )
        return all((place / name).exists() for name in self._files())

    def _files(self) -> list[str]:
        kept = ["", "_probabilities"] if self.probabilities else [""]
        return [f"{name}{suffix}.nii.gz" for name in self.model.predictions for suffix in kept]

    def write(self, case: Case, images: Mapping[str, Image]) -> None:
        """Write one case. ``volumes.json`` comes last: it says that the others are whole.

        Raises
        ------
        FileError
            If a file can't be written.
        """
        place = self.place(case)
        (place / _VOLUMES).unlink(missing_ok=True)
        tables = self.tables()
        measured: dict[str, Any] = {}
        for name, image in images.items():
            if self.probabilities:
                save(image, place / f"{name}_probabilities.nii.gz")
            decided = mask(image, tables[name])
            save(decided, place / f"{name}.nii.gz")
            measured[name] = volumes(image, decided, tables[name])
        data = {"software": software(), "model_sha256": self.identity, "outputs": measured}
        write_json(place / _VOLUMES, data)


def mask(image: Image, labels: Labels) -> Image:
    """The labels that probabilities decide on, part by part: the whole may be larger than memory."""
    decided: np.ndarray | None = None
    for where, part in blocks(image.data):
        found = labels.decode(part.numpy())
        if decided is None:
            decided = np.zeros((len(found), *image.grid.shape), found.dtype)
        decided[:, where[0], where[1]] = found
    return Image(torch.as_tensor(decided), image.grid, "label", 0.0, labels, image.header)


def volumes(image: Image, decided: Image, labels: Labels) -> dict[str, Any]:
    """Expected volumes and those of the decided labels, in ml (or pixels), by method and label."""
    voxel, unit = image.grid.voxel_measure
    expected: dict[str, float] = {}
    for _, part in blocks(image.data):
        for one in volumes_of(part.numpy(), "probability", voxel, "expected", labels=labels, unit=unit):
            expected[one.label] = expected.get(one.label, 0.0) + one.value
    counted = volumes_of(decided.numpy(), "label", voxel, labels=labels, unit=unit)
    key, other = ("volume_ml", {}) if unit == "ml" else ("volume_px", {"volume_ml": None})
    return {
        "voxel_volume_ml": voxel if unit == "ml" else None,
        "unit": unit,
        "expected": {name: {key: size, **other, "status": "ok"} for name, size in expected.items()},
        "threshold": {one.label: {key: one.value, **other, "status": one.status} for one in counted},
    }
