"""Small volumes for the viewer in the page."""

from __future__ import annotations

import gzip

import numpy as np
from numpy.typing import NDArray

from truevox.report.error_maps import ErrorMap
from truevox.space import Grid

__all__ = ["nifti", "viewer_volumes"]

LARGEST = 3_000_000
"""Most voxels of a volume in the page; larger ones keep every second voxel, or every third."""


def viewer_volumes(found: ErrorMap) -> dict[str, bytes]:
    """The error map, and the scan if there is one, as gzipped NIfTI of one byte per voxel.

    Prediction and reference are not kept apart: the codes of the error map tell both.

    Returns
    -------
    dict of str to bytes
        ``codes`` and perhaps ``image``; with more voxels than ``LARGEST``, thinned out alike.
    """
    step = int(np.ceil((found.codes.size / LARGEST) ** (1 / 3)))
    thin = (slice(None, None, step),) * 3
    grid = found.grid[thin]
    volumes = {"codes": nifti(found.codes[thin], grid)}
    if found.image is not None:
        volumes["image"] = nifti(found.image[thin], grid)
    return volumes


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
