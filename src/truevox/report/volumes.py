"""Small volumes for the viewer in the page."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from truevox.report.error_maps import ErrorMap
from truevox.space import Grid

__all__ = ["Small", "nifti", "viewer_volumes"]

LARGEST = 3_000_000
"""Most voxels of a volume in the page; larger ones keep every second voxel, or every third."""


@dataclass(frozen=True)
class Small:
    """Volumes of a case as gzipped NIfTI of one byte per voxel.

    Parameters
    ----------
    codes : bytes
        The error map. Prediction and reference are not kept apart: its codes tell both.
    image : bytes
        The scan; empty if there is none.
    focus : (3,) int
        The voxel to open at.
    """

    codes: bytes
    image: bytes
    focus: tuple[int, int, int]

    def as_data(self) -> dict[str, object]:
        """As the page holds it: the bytes in base64."""
        texts = {"codes": self.codes, "image": self.image}
        encoded = {name: base64.b64encode(one).decode("ascii") for name, one in texts.items()}
        return {**encoded, "focus": self.focus}


def viewer_volumes(found: ErrorMap) -> Small:
    """The error map, and the scan if there is one; with more voxels than ``LARGEST``, thinned out alike."""
    step = int(np.ceil((found.codes.size / LARGEST) ** (1 / 3)))
    thin = (slice(None, None, step),) * 3
    grid = found.grid[thin]
    image = b"" if found.image is None else nifti(found.image[thin], grid)
    i, j, k = (place // step for place in found.focus)
    return Small(nifti(found.codes[thin], grid), image, (i, j, k))


def nifti(array: NDArray[np.uint8], grid: Grid) -> bytes:
    """A gzipped NIfTI-1 file of bytes; the same voxels give the same file.

    Parameters
    ----------
    array : (I, J, K) uint8
    grid : Grid
        Of that shape.

    Examples
    --------
    >>> file = gzip.decompress(nifti(np.zeros((4, 5, 6), np.uint8), Grid((4, 5, 6))))
    >>> len(file) - 352
    120
    """
    import nibabel

    picture = nibabel.Nifti1Image(array, grid.affine)  # pyright: ignore[reportPrivateImportUsage]
    picture.header.set_xyzt_units("mm")
    # No time stamp and no name: the page does not change from run to run.
    return gzip.compress(picture.to_bytes(), 9, mtime=0)
