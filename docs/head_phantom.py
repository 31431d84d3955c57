"""A head made of formulas for the gallery: FLAIR, CT and labels on one anisotropic grid."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import truevox as tv

Array = NDArray[np.float64]

SHAPE = (136, 168, 44)
SPACING = (1.25, 1.25, 3.5)
LABELS = tv.Labels(
    {"oedema": 1, "core": 2, "left ventricle": 3, "right ventricle": 4},
    swap=[("left ventricle", "right ventricle")],
)
# tissue: FLAIR (arbitrary units), CT (HU)
TISSUES = {
    "air": (0, -1000),
    "scalp": (68, -40),
    "skull": (9, 950),
    "csf": (16, 6),
    "grey": (63, 38),
    "white": (46, 29),
    "ventricle": (13, 8),
    "oedema": (92, 20),
    "rim": (108, 52),
    "necrosis": (30, 14),
}


def grid() -> tv.Grid:
    """The grid, its world origin in the middle of the head."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -(np.array(SHAPE) - 1) / 2 * SPACING
    return tv.Grid(SHAPE, affine)


def _ellipsoid(x: Array, y: Array, z: Array, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    return np.sqrt(sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), centre, radii, strict=True)))


def tumour(x: Array, y: Array, z: Array) -> Array:
    """Distance from the middle of the tumour, in mm of an uneven ball."""
    u, v, w = x - 30, y + 22, z - 14
    angle = np.arctan2(v, u)
    bumps = 1 + 0.16 * np.sin(3 * angle + 1) + 0.10 * np.sin(5 * angle + w / 6)
    return np.sqrt(u**2 + v**2 + (1.2 * w) ** 2) / bumps


def _tissues(x: Array, y: Array, z: Array) -> Array:
    """Number of the tissue at each place."""
    names = list(TISSUES)
    out = np.zeros(x.shape, np.uint8)

    def paint(where: Array, name: str) -> None:
        out[where] = names.index(name)

    head = _ellipsoid(x, y, z, (0, 0, -5), (76, 94, 74))
    # Folds of the cortex: the border of the white matter is wavy along both angles.
    angle, height = np.arctan2(y, x), np.arcsin(np.clip((z + 5) / 74, -1, 1))
    folds = np.sin(23 * angle + 4 * np.sin(6 * height)) * np.cos(9 * height + 2 * np.sin(5 * angle))
    paint(head < 1, "scalp")
    paint(head < 0.95, "skull")
    paint(head < 0.885, "csf")
    paint(head < 0.855 + 0.018 * folds, "grey")
    paint(head < 0.765 + 0.075 * folds, "white")
    # The two halves, down to the corpus callosum.
    paint((head < 0.87) & (np.abs(x) < 1.6) & ((z > 18) | (np.abs(y) > 42)), "csf")
    paint((head < 0.86) & (np.abs(np.abs(x) - 3.2) < 1.8) & ((z > 18) | (np.abs(y) > 42)), "grey")
    for side in (-1, 1):
        thalamus = _ellipsoid(side * x, y, z, (10, -12, 2), (8, 13, 10))
        putamen = _ellipsoid(side * x - 0.15 * y, y, z, (24, 10, 2), (6, 17, 11))
        caudate = _ellipsoid(side * x, y, z, (12, 24, 8), (6, 9, 11))
        for nucleus in (thalamus, putamen, caudate):
            paint(nucleus < 1, "grey")
    for _, where in ventricles(x, y, z):
        paint(where, "ventricle")
    distance = tumour(x, y, z)
    inside = head < 0.83
    paint((distance < 23) & inside & (out != names.index("ventricle")), "oedema")
    paint(distance < 13, "rim")
    paint(distance < 9, "necrosis")
    return out


def ventricles(x: Array, y: Array, z: Array) -> list[tuple[int, Array]]:
    """Value and place of the two lateral ventricles; the patient's left is where x is negative."""
    found = []
    for value, side in ((3, -1), (4, 1)):
        bent = side * x - 9 - (y - 4) ** 2 / 110
        found.append((value, _ellipsoid(bent, y, z, (0, 2, 12), (5.5, 30, 13)) < 1))
    return found


def make() -> dict[str, tv.Image]:
    """Images by the names that the gallery's code uses."""
    place = grid()
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(place.to_world(index), -1, 0)
    tissue = _tissues(x, y, z)
    rng = np.random.default_rng(7)
    texture = gaussian_filter(rng.normal(size=SHAPE), (2.4, 2.4, 0.9))
    texture *= 1.6 / texture.std()
    head = tissue > 0

    def seen(column: int, noise: float, air: float) -> tv.Image:
        values = np.array([both[column] for both in TISSUES.values()], np.float64)[tissue]
        values = gaussian_filter(values, (0.55, 0.55, 0.3)) + head * texture
        values += noise * rng.normal(size=SHAPE)
        return tv.Image(torch.from_numpy(values.astype(np.float32)[None]), place, fill=air)

    distance = tumour(x, y, z)
    names = list(TISSUES)
    label = np.zeros(SHAPE, np.uint8)
    label[tissue == names.index("oedema")] = 1
    label[distance < 13] = 2
    for value, where in ventricles(x, y, z):
        label[where & (label == 0)] = value

    def drawn(core: float) -> tv.Image:
        return tv.Image(
            torch.from_numpy((distance < core).astype(np.uint8)[None]),
            place,
            "label",
            labels=tv.Labels({"core": 1}),
        )

    rough = label.copy()
    specks = gaussian_filter(rng.normal(size=SHAPE), (1.6, 1.6, 0.7))
    island = _ellipsoid(x, y, z, (-38, 30, 13), (10, 8, 9)) < 1
    rough[((specks > 2.6 * specks.std()) | island) & (tissue > names.index("csf")) & (label == 0)] = 2
    rough[(distance < 5) & (label == 2)] = 0
    table = {"kind": "label", "labels": LABELS}
    return {
        "scan": seen(0, 1.2, 0.0),
        "ct": seen(1, 4.0, -1000.0),
        "label": tv.Image(torch.from_numpy(label[None]), place, **table),  # type: ignore[arg-type]
        "rough": tv.Image(torch.from_numpy(rough[None]), place, **table),  # type: ignore[arg-type]
        "rater1": drawn(11.5),
        "rater2": drawn(13.0),
        "rater3": drawn(15.5),
    }
