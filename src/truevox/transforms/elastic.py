"""Elastic deformation: a smooth displacement that rides on the grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from truevox.errors import GraphError
from truevox.pipeline.graph import Rng, node
from truevox.pipeline.kinds import Spatial
from truevox.pipeline.lazy import Lazy, Warped
from truevox.sampling import Field
from truevox.space import Grid
from truevox.transforms.ranges import check_probability, per_axis
from truevox.transforms.spatial import Edges, wide_axes

__all__ = ["RandomElastic"]

FOLDS = 2.479472335
"""Cubic B-splines in 3D are one-to-one if no control point moves by spacing / FOLDS (Choi and Lee, 2000)."""


@node
class RandomElastic(Spatial):
    """A smooth random deformation: control points displaced in mm, cubic B-splines in between.

    Parameters
    ----------
    displacement : float, (low, high) or three floats
        Millimetres; every control point moves by a number uniform in [-displacement, displacement] along
        each axis of the first input. A range is that of the displacement of a sample, uniform in it.
    spacing : float or three floats
        Millimetres between control points: how smooth it is.
    probability : float
        Of being applied at all.

    Raises
    ------
    GraphError
        If the displacement is so large that the deformation could fold: at most ``spacing / 2.48``.

    Notes
    -----
    The frame stays where it is; each place shows what lies at the place plus its displacement. The field
    is drawn once and evaluated only where voxels are wanted: with crops, flips and affines before and after
    it, it is one interpolation in all (two fields are two). Beyond the frame of the first input it fades out
    within two control points, which a rotation that follows may see: it is faster and complete as the last
    spatial node. Labels are sampled nearest. Axes of one voxel stay as they are. It serves training:
    :class:`Put` refuses what is seen through a field.

    References
    ----------
    Y. Choi, S. Lee, "Injectivity conditions of 2D and 3D uniform cubic B-spline functions", Graphical
    Models 62 (2000).

    Examples
    --------
    >>> import torch
    >>> from truevox import Image
    >>> x = Image(torch.rand(1, 16, 16, 16), Grid((16, 16, 16)))
    >>> y = RandomElastic(displacement=2, spacing=8)(x, rng=np.random.default_rng(0))
    >>> y.grid == x.grid, torch.equal(y.data, x.data)
    (True, False)
    """

    displacement: float | Sequence[float] = 8.0
    spacing: float | Sequence[float] = 32.0
    probability: float = 1.0

    random = True
    deforms = True

    def __post_init__(self) -> None:
        check_probability(self.probability, "RandomElastic")
        low, most = self._limits
        apart = per_axis(self.spacing, "RandomElastic: spacing")
        if low.min() < 0 or (most < low).any() or apart.min() <= 0:
            raise GraphError(
                "RandomElastic: displacements are not negative and spacings positive, in mm.",
                got=(self.displacement, self.spacing),
                remedy="write displacement=8, spacing=32",
            )
        if (most > apart / FOLDS).any():
            allowed = ", ".join(f"{a:.3g}" for a in np.unique(np.floor(apart / FOLDS * 100) / 100))
            raise GraphError(
                "RandomElastic: so large a displacement could fold the image.",
                got=f"displacement {self.displacement} mm, spacing {self.spacing} mm",
                expected=f"displacement of at most {allowed} mm",
                remedy="displace less, or place the control points further apart",
            )

    @cached_property
    def _limits(self) -> np.ndarray:
        """Least and largest displacement per axis: (2, 3)."""
        ends = self.displacement if np.shape(self.displacement) == (2,) else (self.displacement,) * 2
        return np.stack([per_axis(end, "RandomElastic: displacement") for end in ends])  # type: ignore[union-attr]

    def run(self, inputs: Sequence[Lazy], edges: Edges, rng: Rng) -> tuple[Lazy, ...]:
        applied = rng.random() < self.probability
        field = self.field(inputs[0].grid, rng)
        return tuple(Warped(i, field) for i in inputs) if applied else tuple(inputs)

    def field(self, grid: Grid, rng: Rng) -> Field:
        """A draw of the displacement over a grid."""
        wide = np.isin(range(3), wide_axes(grid))
        size, spacing = np.array(grid.shape), grid.spacing
        # A missing dimension has three equal control points, a voxel apart: nothing changes along it.
        step = np.where(wide, per_axis(self.spacing, "spacing") / spacing, 1.0)
        cells = np.where(wide, np.ceil(size / step - 1e-6), 0).astype(int)
        lattice = grid.lattice((size - 1) / 2 - step * (cells / 2 + 1), step, (cells + 3).tolist())
        drawn = rng.uniform(-1, 1, (3, *np.where(wide, cells + 3, 1)))
        low, high = self._limits
        most = np.where(wide, low + (high - low) * rng.random(), 0.0)
        axes = grid.affine[:3, :3] / spacing
        points = np.tensordot(axes * most, drawn, 1)
        return Field(lattice, np.broadcast_to(points, (3, *lattice.shape)))
