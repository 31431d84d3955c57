# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""What the tests of the core share: ramps, small graphs, cohorts on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

import truevox as tv
from truevox import Grid, Image
from truevox.pipeline import Cache, Draw, Frame, Node, Plan, Pointwise, Run, node
from truevox.pipeline.cases import as_case

FILL = -4321.0


def voxels(grid: Grid) -> np.ndarray:
    """Indices (I, J, K, 3) of a grid's voxels."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)


def world(grid: Grid) -> np.ndarray:
    """World positions (3, I, J, K), by a matrix product of its own."""
    index = np.concatenate([voxels(grid), np.ones((*grid.shape, 1))], axis=-1)
    return np.moveaxis((index @ grid.affine.T)[..., :3], -1, 0)


def ramp(grid: Grid, fill: float = FILL) -> Image:
    """The image whose values are its own world coordinates."""
    return Image(torch.from_numpy(world(grid)), grid, fill=fill)


def seen_from(source: Grid, target: Grid) -> np.ndarray:
    """Source indices (I, J, K, 3) of the target's voxels, by inverting the affine."""
    positions = np.moveaxis(world(target), 0, -1) - source.affine[:3, 3]
    return positions @ np.linalg.inv(source.affine[:3, :3]).T


def core_and_outside(source: Grid, target: Grid, eps: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Masks of target voxels: inside without the outer half voxel; and surely outside."""
    index = seen_from(source, target)
    size = np.array(source.shape)
    core = ((index >= -eps) & (index <= size - 1 + eps)).all(-1)
    outside = ((index < -0.5 - eps) | (index > size - 0.5 + eps)).any(-1)
    return core, outside


def reads_itself(image: Image, source: Grid, fill: float = FILL) -> int:
    """Assert that a sampled ramp reads its own coordinates; the number of voxels that were compared."""
    core, outside = core_and_outside(source, image.grid)
    wanted = world(image.grid)
    got = image.numpy()
    scale = 1e-5 * (1 + np.abs(source.corners).max() + np.abs(image.grid.corners).max())
    np.testing.assert_allclose(
        got[:, core], wanted[:, core], rtol=0, atol=2e-3 * source.spacing.max() + scale
    )
    assert (got[:, outside] == np.float32(fill)).all()
    return int(core.sum() + outside.sum())


def evaluate(
    outputs: Sequence[Node],
    images: Mapping[str, Image] | object,
    *,
    seed: int = 0,
    sample: int = 0,
    cache: Cache | None = None,
    batch_size: int = 2,
) -> list[Image]:
    """The outputs of a graph for one case."""
    run = Run(Plan(outputs), cache=cache, batch_size=batch_size)
    frame = Frame([as_case(images)], [Draw(seed, sample)])
    return [run.values(n, frame)[0].image() for n in outputs]


@node
class Same(Pointwise):
    """An intensity node that changes nothing."""

    def values(self, frame, rng):  # type: ignore[no-untyped-def]
        return lambda x: x


@node
class Broken(Pointwise):
    """An intensity node that fails."""

    text: str = "it broke"

    def values(self, frame, rng):  # type: ignore[no-untyped-def]
        raise ValueError(self.text, 42)


class Identity(nn.Module):
    """A network that gives its input back."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0


def averaging_convolution(channels: int, size: int = 3, stride: int = 1) -> nn.Conv3d:
    """A valid convolution that takes the mean, channel by channel: a ramp stays a ramp."""
    module = nn.Conv3d(channels, channels, size, stride=stride, groups=channels, bias=False)
    nn.init.constant_(module.weight, 1 / size**3)
    return module


def affine_of(
    codes: str, spacing: Sequence[float] = (1, 1, 1), origin: Sequence[float] = (0, 0, 0)
) -> np.ndarray:
    """Affine whose axes grow towards ``codes``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(codes):
        w, sign = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}[code]
        affine[w, axis] = sign * spacing[axis]
    affine[:3, 3] = origin
    return affine


def cohort_on_disk(
    folder: Path, cases: int = 3, shape: Sequence[int] = (14, 12, 10), seed: int = 0
) -> tv.Cohort:
    """Small NIfTI cases: a bright ball in noise, and its mask."""
    rng = np.random.default_rng(seed)
    rows = ["case,split,image,mask"]
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(cases):
        index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
        centre = (np.array(shape) / 2 + rng.uniform(-1.5, 1.5, 3)).reshape(3, 1, 1, 1)
        mask = (((index - centre) ** 2).sum(0) < 9).astype(np.uint8)
        scan = (rng.normal(100, 10, shape) + 60 * mask).astype(np.float32)
        affine = affine_of("LPS", (1, 1, 1.5), (k, 2 * k, -k))
        nib.save(nib.Nifti1Image(scan, affine), folder / f"c{k}_image.nii")
        nib.save(nib.Nifti1Image(mask, affine), folder / f"c{k}_mask.nii")
        rows.append(f"c{k},train,c{k}_image.nii,c{k}_mask.nii")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return tv.Cohort.from_csv(folder / "cohort.csv")


def small_net(seed: int = 0, channels: tuple[int, ...] = (4, 8), **settings: object) -> nn.Module:
    """A U-Net with known weights."""
    torch.manual_seed(seed)
    return tv.networks.UNet(1, 1, channels=channels, **settings)  # type: ignore[arg-type]


def small_model(
    crop: int = 8, *, gamma: float = 0.3, dropout: float = 0.0, cls: type[tv.Model] = tv.Model, **put: object
) -> tv.Model:
    """Training on random crops, prediction by tiles."""
    scan, mask = tv.Input("image"), tv.Input("mask", kind="label")
    normal = tv.ZScore()(scan)
    x, y = tv.RandomAffine(rotation=10)(*tv.RandomCrop(crop, centre_on=mask)(normal, mask))
    module: nn.Module = small_net()
    if dropout:
        module = nn.Sequential(module, nn.Dropout(dropout))
    net = tv.Network(module, labels=tv.Labels({"mask": 1}))
    p = net(tv.RandomNoise(0.1)(tv.RandomGamma(gamma)(x)))
    full = tv.Put(like=scan, **put)(tv.Sigmoid()(net(tv.GridCrop(crop)(normal))))  # type: ignore[arg-type]
    return cls(train=(p, y), predict={"mask": full}, loss=tv.losses.CrossEntropy())
