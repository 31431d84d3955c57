"""Validation: whole scans through the same graph as later use, scored by overlap and by volume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from truevox.image import Image
from truevox.labels import Labels
from truevox.losses.properties import description, unbiased_for_volume
from truevox.metrics import evaluate
from truevox.origin import Origin, VolumeBias
from truevox.pipeline.graph import ancestors
from truevox.transforms.crops import RandomCrop

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["Found", "origins", "row_of", "scores_of"]

Row = dict[str, float]


class Found(NamedTuple):
    """What one case says of one label: volumes in ml, NaN where there is none."""

    name: str
    dice: float
    expected: float
    threshold: float
    reference: float


def scores_of(model: Model, case: Any, predicted: Mapping[str, Image]) -> list[Found]:
    """Scores of one case, for every output that has a reference and every label of it."""
    found: list[Found] = []
    for output, column in model.targets.items():
        image, labels = predicted[output], predicted[output].labels
        if column is not None and labels is not None:
            found += _scores(output, image, labels, case.load(column, "label"))
    return found


def _scores(output: str, image: Image, labels: Labels, reference: Image) -> list[Found]:
    array, decided = image.numpy(), labels.decode(image.numpy())
    there = reference.on(image.grid, mirror=False)
    truth = there.numpy()[0]
    known = None if labels.ignore is None else truth != labels.ignore
    # A reference is measured on its own grid, unless voxels that it leaves open are left out of both.
    own = reference if known is None else there
    found = []
    for k, (name, channel) in enumerate(labels.channel_names.items()):
        values = labels.values_of(name)
        # Overlapping regions are decided one by one, in a channel each.
        mask = decided[0] == values[0] if labels.exclusive else decided[k] == 1
        score = evaluate(mask, np.isin(truth, values), image.grid.spacing, field=known)["dice"]
        sums = array[channel] if image.kind == "probability" else np.full((1, 1, 1), np.nan)
        found.append(
            Found(
                f"val/{output}/{name}",
                score.value,
                _ml(sums, known, image),
                _ml(mask, known, image),
                _ml(np.isin(own.numpy()[0], values), known, own),
            )
        )
    return found


def _ml(values: NDArray, known: NDArray | None, image: Image) -> float:
    counted = values if known is None or values.shape != known.shape else values[known]
    # Pixels of which nobody knows the size have no millilitres, and no bias in them.
    voxel = image.grid.voxel_volume_ml if image.grid.unit == "mm" else math.nan
    return float(counted.sum(dtype=np.float64)) * voxel


def row_of(found: Sequence[Found]) -> Row:
    """Means over cases, by name."""
    row: Row = {}
    for name in dict.fromkeys(one.name for one in found):
        mine = [one for one in found if one.name == name]
        dices = np.array([one.dice for one in mine])
        defined = dices[np.isfinite(dices)]
        row[f"{name}/dice"] = float(defined.mean()) if defined.size else math.nan
        row[f"{name}/dice/undefined"] = float(dices.size - defined.size)
        for method in ("expected", "threshold"):
            pairs = [(getattr(one, method), one.reference) for one in mine]
            if not np.isnan(pairs).any():
                bias = VolumeBias.of(pairs)
                row[f"{name}/{method}_volume_bias_ml"] = bias.ml
                row[f"{name}/{method}_volume_bias_percent"] = bias.percent
        row[f"{name}/cases"] = float(len(mine))
    return row


def origins(model: Model, steps: int, history: Iterable[Row], shared: int = 0) -> dict[str, Origin]:
    """What is to be said of each output's probabilities after a training with this history."""
    rows = [row for row in history if any(name.startswith("val/") for name in row)]
    last = rows[-1] if rows else None
    centred = any(
        isinstance(call.op, RandomCrop) and call.op.centre_on is not None and call.op.foreground > 0
        for call in ancestors([prediction for prediction, _ in model.pairs])
    )
    known = {
        "loss": description(model.loss),
        "unbiased": unbiased_for_volume(model.loss),
        "steps": steps,
        "centred": centred,
        "validated_at": None if last is None else int(last["step"]),
        "shared": shared if last is not None else 0,
    }
    return {name: Origin(**known, bias=_biases(last or {}, name)) for name in model.trained_outputs}


def _biases(row: Row, output: str) -> dict[str, dict[str, VolumeBias]]:
    start, end = f"val/{output}/", "/cases"
    labels = [name[len(start) : -len(end)] for name in row if name.startswith(start) and name.endswith(end)]
    return {
        label: {
            method: VolumeBias(
                row[f"{start}{label}/{method}_volume_bias_ml"],
                row[f"{start}{label}/{method}_volume_bias_percent"],
                int(row[f"{start}{label}{end}"]),
            )
            for method in ("expected", "threshold")
            if f"{start}{label}/{method}_volume_bias_ml" in row
        }
        for label in labels
    }
