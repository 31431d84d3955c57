"""Pictures of every transform on a phantom, made when the documentation is built, so that none is stale."""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from head_phantom import make
from PIL import Image as Picture
from PIL import ImageDraw

import truevox as tv

PIXELS_PER_MM = 1.75
PAPER, INK = (18, 18, 20), (205, 205, 210)
COLOURS = ((240, 140, 60), (220, 50, 90), (70, 160, 240), (110, 220, 140))
MIDDLE = (30.0, -22.0, 13.0)
"""The tumour, in the phantom's world: slices are taken through it."""


@dataclass(frozen=True)
class Entry:
    """One transform: what is called, on what, and how it is shown.

    Attributes
    ----------
    code : str
        The transform, as a user writes it; it is run as it is shown.
    on : str
        Names of the phantom's images that it is called on.
    show : str
        ``"scan"``, ``"label"`` (colours over the scan), ``"map"`` (signed, red and blue), or ``"share"``.
    coronal : bool
        Whether the slice is coronal, which shows the thickness of the slices.
    seed : int
        Of the draw.
    window : (low, high)
        Values shown black and white after it, if they are others than before.
    note : str
    """

    code: str
    on: str = "scan"
    show: str = "scan"
    coronal: bool = False
    seed: int = 0
    window: tuple[float, float] | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """The transform's name."""
        return self.code.removeprefix("tv.").split("(")[0].split(".")[0]


FAMILIES: dict[str, tuple[Entry, ...]] = {
    "Looking from elsewhere": (
        Entry("tv.Affine(rotation=(0, 0, 15), scaling=1.1)"),
        Entry(
            "tv.RandomAffine(rotation=(0, 0, 20), scaling=0.15, shear=(0, 0, 8))",
            "scan label",
            "label",
            seed=3,
        ),
        Entry("tv.Flip(axes=0)", "scan label", "label", note="Left and right keep their names: see `swap`."),
        Entry("tv.RandomFlip(axes=(0, 1), probability=0.5)", "scan label", "label", seed=2),
        Entry("tv.RandomElastic(displacement=9, spacing=26)", "scan label", "label", seed=1),
        Entry("tv.Resample((4, 4, 3.5))", "scan label", "label", note="Labels become shares per voxel."),
        Entry('tv.Reorient("ASR")', note="The same voxels, axes in another order: drawn by array axes."),
        Entry("tv.Like(coarse)", note="The grid of another image."),
    ),
    "Crops and patches": (
        Entry("tv.Crop(start=(40, 20, 10), size=(90, 90, 30))", "scan label", "label"),
        Entry("tv.CentreCrop((96, 96, 32))"),
        Entry("tv.CropToMask(label, margin_mm=10)", "scan label", "label"),
        Entry("tv.Pad(multiple_of=64)"),
        Entry("tv.RandomCrop((64, 64, 24), centre_on=label, foreground=1)", "scan label", "label", seed=20),
    ),
    "One scale": (
        Entry(
            'tv.ZScore(mask="nonzero")',
            window=(-2, 3),
            note="Mean 0 and standard deviation 1 over the head; air stays 0.",
        ),
        Entry("tv.Rescale(0, 1, percentiles=(1, 99))", window=(0, 1)),
        Entry('tv.Clip(5, 95, unit="percentile")'),
        Entry('tv.Window.preset("brain")', "ct", window=(0, 1)),
        Entry(
            "tv.HistogramMatch.fit([other])", note="`other` is brighter in the dark parts: so is the result."
        ),
        Entry(
            "tv.NyulLandmarks.fit([scan])",
            "faint",
            window=(-55, 115),
            note="`faint` has another gain and offset; on the standard scale that is gone.",
        ),
    ),
    "Intensities": (
        Entry("tv.RandomGamma(0.7)", seed=6),
        Entry("tv.RandomBrightness((15, 25))"),
        Entry("tv.RandomContrast((1.4, 1.6))"),
        Entry("tv.RandomNoise(12)", seed=1),
        Entry("tv.RandomRicianNoise((8, 10))", note="Air becomes grey; bright tissue keeps its mean."),
        Entry("tv.RandomBlur((1.5, 2.0))"),
        Entry("tv.RandomSharpen((1.5, 2.0), sigma=(1.5, 1.5))"),
        Entry("tv.RandomLowResolution((4, 5))"),
        Entry("tv.RandomAnisotropy(thickness=(9, 10), axes=2)", coronal=True),
    ),
    "Artefacts": (
        Entry("tv.RandomBiasField((0.6, 0.7), wavelength=(150, 250))", seed=3),
        Entry("tv.RandomMotion(rotation=8, translation=8, movements=4, axes=1)", seed=6),
        Entry("tv.RandomGhosting((0.3, 0.35), copies=4, axes=1)"),
        Entry("tv.RandomSpike((0.12, 0.15))", seed=6),
        Entry("tv.RandomGibbs((0.35, 0.4))"),
        Entry("tv.RandomCutout(count=8, size=(0.2, 0.3))", seed=1),
    ),
    "Labels": (
        Entry('tv.MapLabels({"tumour": ["oedema", "core"]})', "label", "label"),
        Entry("tv.OneHot()", "label", "share", note="The channel of the class `core`."),
        Entry("tv.KeepLargest()", "rough", "label"),
        Entry("tv.RemoveSmall(least_ml=1)", "rough", "label"),
        Entry("tv.FillHoles()", "rough", "label"),
        Entry("tv.DistanceMap(limit_mm=40)", "label", "map", note="Of the class `core`; blue inside."),
        Entry("tv.SoftLabel()", "rater1 rater2 rater3", "share"),
        Entry("tv.RandomRater()", "rater1 rater2 rater3", "label", seed=1),
    ),
    "Choices": (
        Entry("tv.OneOf([tv.RandomBlur((2, 2)), tv.RandomNoise(15), tv.RandomMotion()])", seed=2),
        Entry("tv.SomeOf([tv.RandomBlur((2, 2)), tv.RandomNoise(15), tv.RandomGamma(0.7)], count=2)", seed=4),
        Entry("tv.WithProbability(tv.RandomSpike((0.2, 0.2)), probability=0.5)", seed=5),
    ),
    "Functions and other libraries": (
        Entry("tv.Function(lambda x: (x / 20).round() * 20, random=False, pointwise=True)"),
    ),
}

NOT_SHOWN = {
    "FromMONAI": "any transform of MONAI, whose documentation shows them",
    "FromTorchIO": "any transform of TorchIO, whose documentation shows them",
    "GridCrop": "makes many patches of one image; put together they are the image",
    "Input": "reads an image",
    "Mean": "the mean of several images",
    "Put": "patches back on the scan's grid: the image itself",
    "Sigmoid": "acts on the logits of a network",
    "Softmax": "acts on the logits of a network",
    "Stack": "several images as channels",
}
"""Transforms without a picture, and why."""


def images() -> dict[str, tv.Image]:
    """The phantom, and what some entries refer to: a coarser lattice, scans of other contrasts."""
    named = make()
    scan = named["scan"]
    named["coarse"] = scan.on(scan.grid.with_spacing((3.0, 3.0, 3.5)))
    named["other"] = scan.replace(data=115 * (scan.data.clamp(min=0) / 115) ** 0.55)
    named["faint"] = scan.replace(data=scan.data * 0.4 + 30, fill=30.0)
    return named


def run(entry: Entry, named: dict[str, tv.Image]) -> tuple[list[tv.Image], list[tv.Image]]:
    """Inputs and outputs of an entry."""
    op = eval(entry.code, {"tv": tv, **named})
    before = [named[name] for name in entry.on.split()]
    made = op(*before, rng=np.random.default_rng(entry.seed))
    return before, list(made) if isinstance(made, tuple) else [made]


def grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Values as (I, J, 3) bytes."""
    low, high = window
    return np.repeat((np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)[..., None], 3, -1)


def signed(values: np.ndarray) -> np.ndarray:
    """Blue below zero, red above, with a line at every 10 mm."""
    share = np.clip(values / 25, -1, 1)[..., None]
    white = np.array([245.0, 245, 245])
    colour = np.where(share < 0, (40.0, 90, 200), (200.0, 60, 50))
    out = white + (colour - white) * np.abs(share)
    line = (np.abs(values) % 10 < 1) & (np.abs(values) < np.abs(values).max())
    return (out * np.where(line, 0.75, 1)[..., None]).astype(np.uint8)


def flat(image: tv.Image, entry: Entry) -> tuple[np.ndarray, tuple[float, float]]:
    """The slice (C, A, B) that is shown, and the size of its pixels in mm."""
    axis = 1 if entry.coronal else 2
    index = int(np.clip(np.rint(image.grid.to_index(MIDDLE)[axis]), 0, image.grid.shape[axis] - 1))
    others = [a for a in range(3) if a != axis]
    size = image.grid.spacing[others]
    return np.take(image.numpy(), index, axis + 1), (float(size[0]), float(size[1]))


def panel(seen: list[tv.Image], entry: Entry, window: tuple[float, float], scan: tv.Image) -> Picture.Image:
    """One picture of one or several images of a grid."""
    last = seen[-1]
    data, size = flat(last, entry)
    if entry.show == "map":
        colours = signed(data[1])
    elif entry.show == "scan":
        colours = grey(data[0], window)
    else:
        behind = seen[0] if seen[0].kind == "scalar" else scan.on(last.grid)
        colours = grey(flat(behind, entry)[0][0], window) * 0.8
        shares = masks(data[0]) if last.kind == "label" else data[1:] if len(data) > 1 else data
        colour_of = COLOURS
        if entry.show == "share" and len(shares) > 1:
            shares, colour_of = shares[1:2], COLOURS[1:2]
        for share, colour in zip(shares, colour_of, strict=False):
            strength = 0.65 * np.clip(share, 0, 1)[..., None]
            colours = colours * (1 - strength) + np.array(colour) * strength
    # Rows from the front of the head to its back, columns from the patient's left to the right.
    drawn = Picture.fromarray(np.flipud(np.swapaxes(colours, 0, 1)).astype(np.uint8))
    shown = [max(1, round(n * s * PIXELS_PER_MM)) for n, s in zip(data.shape[1:], size, strict=True)]
    return drawn.resize((shown[0], shown[1]), Picture.Resampling.NEAREST)


def masks(values: np.ndarray) -> np.ndarray:
    """A mask per value."""
    return np.stack([values == v for v in range(1, 5)]).astype(float)


def draw(entry: Entry, named: dict[str, tv.Image]) -> Picture.Image:
    """Before and after, side by side."""
    before, after = run(entry, named)
    scan = named["scan"]
    window = (-1000.0, 1000.0) if entry.on == "ct" else (0.0, 115.0)
    first = dataclasses.replace(entry, show="label" if before[-1].kind == "label" else "scan")
    apart = [[b] for b in before] if all(b.kind == "label" for b in before) else [before]
    parts = [panel(seen, first, window, scan) for seen in apart]
    parts.append(panel(after, entry, entry.window or window, scan))
    gap, top = 10, 20
    width = sum(p.width for p in parts) + gap * (len(parts) + 1)
    sheet = Picture.new("RGB", (width, max(p.height for p in parts) + top + gap), PAPER)
    pen = ImageDraw.Draw(sheet)
    titles = ["before", "after"] if len(parts) == 2 else [*entry.on.split(), "after"]
    left = gap
    for title, part in zip(titles, parts, strict=True):
        pen.text((left, 4), title, fill=INK)
        sheet.paste(part, (left, top + (sheet.height - top - gap - part.height) // 2))
        left += part.width + gap
    return sheet


def write(folder: Path) -> None:
    """One PNG per entry, and ``entries.md``, which the gallery's page includes."""
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    named = images()
    lines = []
    for family, entries in FAMILIES.items():
        lines.append(f"## {family}\n")
        for entry in entries:
            file = f"{entry.name}-{zlib.crc32(entry.code.encode()):08x}.png"
            draw(entry, named).save(folder / file, optimize=False, compress_level=4)
            on = ", ".join(entry.on.split())
            lines.append(f"### {entry.name}\n\n```python\n{entry.code}({on})\n```\n")
            lines.append(f"![{entry.name}, before and after](_gallery/{file})\n")
            if entry.note:
                lines.append(f"{entry.note}\n")
    (folder / "entries.md").write_text("\n".join(lines), encoding="utf-8")


def shown() -> set[str]:
    """Names of the transforms that have a picture."""
    return {entry.name for entries in FAMILIES.values() for entry in entries}
