"""Arrays on disk in chunks: what is read is what was written, bit for bit, or an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from truevox import Grid, kernels
from truevox.kernels.palette import MOST_VALUES, find_palette
from truevox.pipeline import chunks
from truevox.pipeline.chunks import ChunkedArray, DamagedError, write_chunks
from truevox.sampling import touched_boxes

SHAPES = [(2, 30, 41, 50), (1, 1, 90, 70), (3, 1, 1, 700), (4, 5000, 1, 1), (1, 8, 8, 8), (2, 0, 3, 3)]
KINDS = ["uint8", "bool", "int16", "uint16", "int32", "int64", "float16", "float32", "float64"]


def _bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _array(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> np.ndarray:
    smooth = np.cumsum(rng.integers(-3, 4, shape), axis=-1)
    return smooth.astype(kind)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_read_is_what_was_written(tmp_path: Path, shape: tuple[int, ...], kind: str):
    array = _array(shape, kind, np.random.default_rng(0))
    write_chunks(tmp_path / "a", array, {"any": [1, None, "é"]})
    held = ChunkedArray(tmp_path / "a")
    assert (held.shape, held.dtype, held.meta) == (shape, array.dtype, {"any": [1, None, "é"]})
    assert _bits(held.read((0, 0, 0), shape[1:])) == _bits(array)
    rng = np.random.default_rng(1)
    for _ in range(8):
        ends = np.sort(rng.integers(0, np.array(shape[1:]) + 1, (2, 3)), axis=0)
        part = array[(slice(None), *map(slice, *ends))]
        assert _bits(held.read(*ends)) == _bits(part)


SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, 3.4e38, 1.0], np.float32)
NANS = np.array([0x7FC00000, 0x7FC00001, 0xFFC00000, 0x7F800001], np.uint32).view(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_floats_keep_their_bits(tmp_path: Path, seed: int, channels: int, dense: bool):
    rng = np.random.default_rng(seed)
    values = np.concatenate([SPECIAL, NANS, rng.standard_normal(50).astype(np.float32)])
    array = rng.choice(values, (channels, 9, 30, 11))
    array[:, :5] = values[seed % len(values)]
    write_chunks(tmp_path / "a", array, {}, dense=dense)
    assert _bits(ChunkedArray(tmp_path / "a").read((0, 0, 0), array.shape[1:])) == _bits(array)


def test_many_values_stay_floats(tmp_path: Path):
    """65536 different values are codes, one more is not; the second channel decides for both."""
    for extra in (0, 1):
        array = np.zeros((2, 48, 48, 48), np.float32)
        array[1].flat[: MOST_VALUES + extra] = np.arange(MOST_VALUES + extra) - 0.5
        array[1].flat[MOST_VALUES + extra :] = -0.5
        assert (find_palette(array[1]) is None) == bool(extra)
        size = write_chunks(tmp_path / "a", array, {})
        assert size < array.nbytes
        assert _bits(ChunkedArray(tmp_path / "a").read((0, 0, 0), array.shape[1:])) == _bits(array)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000))
@settings(max_examples=30, deadline=None)
def test_a_palette_is_that_of_numpy(seed: int, values: int):
    rng = np.random.default_rng(seed)
    channel = rng.integers(0, values, (7, 11, 13)).astype(np.float32) / 7
    palette = find_palette(channel)
    assert palette is not None
    unique, codes = np.unique(channel, return_inverse=True)
    np.testing.assert_array_equal(palette.values, unique)
    np.testing.assert_array_equal(palette.encode(channel), codes.reshape(channel.shape))


def test_integers_before_a_scale_take_two_bytes(tmp_path: Path):
    """An image of whole numbers, normalised: as small as the whole numbers themselves."""
    whole = _array((1, 64, 64, 64), "int16", np.random.default_rng(0))
    a = write_chunks(tmp_path / "a", whole, {})
    b = write_chunks(tmp_path / "b", ((whole - 3.3) / 7.1).astype(np.float32), {})
    assert b < 1.1 * a + 4 * 2**10
    assert write_chunks(tmp_path / "c", whole, {}, dense=True) < a


def test_an_even_chunk_is_one_voxel(tmp_path: Path):
    size = write_chunks(tmp_path / "a", np.full((3, 200, 200, 200), 7.5, np.float32), {})
    assert size < 40_000  # of 96 MB
    part = ChunkedArray(tmp_path / "a").read((3, 4, 5), (99, 100, 101))
    assert part.shape == (3, 96, 96, 96)
    assert (part == 7.5).all()


def test_a_flipped_bit_or_a_cut_anywhere_is_seen(tmp_path: Path):
    array = _array((1, 30, 30, 30), "int16", np.random.default_rng(0))
    path = tmp_path / "a"
    write_chunks(path, array, {})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*rng.integers(0, len(whole), 150).tolist(), *range(len(whole) - 40, len(whole))]:
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                found = ChunkedArray(path).read((0, 0, 0), (30, 30, 30))
            except DamagedError:
                continue
            assert at < len(chunks.MAGIC)  # the only bytes that nothing depends on
            np.testing.assert_array_equal(found, array)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_boxes_that_are_left_out_are_not_read(seed: int):
    """Voxels of untouched boxes may be anything: here NaN, which would show."""
    rng = np.random.default_rng(seed)
    source = Grid((40, 30, 20))
    volume = rng.random((1, *source.shape), dtype=np.float32)
    target = source.crop(rng.integers(-5, 25, 3).tolist(), rng.integers(2, 20, 3).tolist())
    turn = Rotation.from_rotvec(rng.uniform(-2, 2, 3)).as_matrix() * rng.uniform(0.5, 1.4, 3)
    target = target.transformed(target.about_centre(turn))
    sides = np.array([7, 8, 5])
    first = np.indices((-(-np.array(source.shape) // sides)).tolist()).reshape(3, -1).T * sides
    wanted = touched_boxes(source, target)(first, sides)
    holes = volume.copy()
    for start in first[~wanted]:
        holes[(slice(None), *map(slice, start, start + sides))] = np.nan
    step = source.index_map(target)[:3]
    for sample in (kernels.sample_linear, kernels.sample_nearest):
        seen = sample(holes, step, target.shape, np.zeros(1))
        np.testing.assert_array_equal(seen, sample(volume, step, target.shape, np.zeros(1)))
    assert np.isnan(holes).any() == (not wanted.all())
