"""Integers of 64 bits: exact from every format, and refused where torch can't hold them, never wrapped."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
import zarr

from truevox import io
from truevox.errors import LabelError

VALUES = np.array([0, 1, 2**53 + 1, 2**63 - 1, 2**63 + 5, 2**64 - 1], np.uint64).reshape(1, 2, 3)
"""As other programs write them: k, j, i."""


def written(folder: Path, suffix: str, values: np.ndarray) -> Path:
    path = folder / f"a{suffix}"
    turned = np.ascontiguousarray(values.T)
    if suffix == ".npy":
        np.save(path, turned)
    elif suffix == ".npz":
        np.savez(path, data=turned)
    elif suffix == ".zarr":
        zarr.create_array(path, data=turned, overwrite=True)
    elif suffix == ".tif":
        tifffile.imwrite(path, values, photometric="minisblack")
    elif suffix.startswith(".nii"):
        nibabel.Nifti1Image(turned, np.eye(4), dtype=turned.dtype).to_filename(path)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".zarr", ".tif", ".nii", ".nii.gz", ".nrrd", ".mha"])
def test_integers_beyond_63_bits(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path, suffix, VALUES)
    found, _ = io.read(path)
    assert found.dtype == np.uint64
    assert np.array_equal(found[0].T, VALUES)
    for kind in ("scalar", "label"):
        with pytest.raises(LabelError, match="too large") as caught:
            io.load(path, kind)
        assert (caught.value.got, caught.value.file) == (str(2**64 - 1), str(path))
    small = written(tmp_path, suffix, np.minimum(VALUES, 2**63 - 1))
    for kind in ("scalar", "label"):
        assert np.array_equal(io.load(small, kind).numpy()[0].T, np.minimum(VALUES, 2**63 - 1))


def test_counting_them() -> None:
    high = 2**64 - 1
    assert io.access.label_counts(np.array([high, high - 1, high], np.uint64)) == {high - 1: 1, high: 2}
    assert io.access.label_counts(np.array([-(2**63), -(2**63)], np.int64)) == {-(2**63): 2}
