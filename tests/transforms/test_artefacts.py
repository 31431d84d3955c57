# pyright: reportArgumentType=false
"""Artefacts against what Fourier says, by NumPy's transform and by closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import core_and_outside
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_grid

import truevox as tv
from truevox import Grid, Image
from truevox.transforms.along import along, circulant, coarse_and_back, frequencies, gaussian


def noise(grid: Grid, seed: int = 0, channels: int = 1) -> Image:
    data = np.random.default_rng(seed).normal(size=(channels, *grid.shape)).astype(np.float32)
    return Image(torch.from_numpy(data), grid)


# ---- matrices along an axis ---------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    axis=st.integers(0, 2),
    rows=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_along_is_a_product_over_the_axis(shape, axis, rows, seed):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=shape)
    matrix = rng.normal(size=(rows, shape[axis + 1]))
    expected = np.moveaxis(np.tensordot(matrix, data, (1, axis + 1)), 0, axis + 1)
    np.testing.assert_allclose(along(torch.from_numpy(data), matrix, axis).numpy(), expected, atol=1e-4)


def test_along_skips_zeros_beside_a_band_and_nothing_else():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 400, 3, 2))
    for matrix in (gaussian(400, 4.0), np.zeros((300, 400)), coarse_and_back(np.arange(400.0), 3.7)):
        expected = np.moveaxis(np.tensordot(matrix, data, (1, 1)), 0, 1)
        np.testing.assert_allclose(along(torch.from_numpy(data), matrix, 0).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_circulant_is_the_real_part_of_weighted_k_space(size: int):
    rng = np.random.default_rng(size)
    line, weights = rng.normal(size=size), rng.random(size)
    expected = np.fft.ifft(weights * np.fft.fft(line)).real
    np.testing.assert_allclose(circulant(weights) @ line, expected, atol=1e-12)
    assert frequencies(size).tolist() == (np.fft.fftfreq(size) * size).tolist()


# ---- bias field ---------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(grid=any_grid(least=2, most=12), seed=st.integers(0, 2**32))
def test_the_bias_field_is_positive_bounded_and_smooth(grid: Grid, seed: int):
    strength, shortest = 0.6, 40.0
    ones = Image(torch.ones(1, *grid.shape), grid)
    op = tv.RandomBiasField((strength, strength), wavelength=(shortest, 80))
    field = np.log(op(ones, rng=np.random.default_rng(seed)).numpy()[0].astype(np.float64))
    assert abs(field.mean()) < 1e-5
    assert np.abs(field).max() <= 2 * strength + 1e-5
    # |gradient| of a sum of waves is at most 2 pi / wavelength times the sum of their amplitudes.
    steepest = 2 * np.pi / shortest * strength
    for axis in range(3):
        assert np.abs(np.diff(field, axis=axis)).max(initial=0) <= steepest * grid.spacing[axis] + 1e-5


def test_the_bias_field_is_one_of_the_world():
    # Seen from elsewhere, the field is that of the same places: it is evaluated there, not interpolated.
    grid = Grid((16, 14, 12), np.diag([1.0, 1.3, 2.0, 1]))
    ones = Image(torch.ones(1, *grid.shape), grid)
    effect = tv.RandomBiasField((0.5, 0.5), wavelength=(20, 60)).effect(
        lambda: ones, grid, np.random.default_rng(5)
    )
    assert effect is not None
    turned = grid.transformed(
        grid.about_centre(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])
    )
    fine = effect.function(Image(torch.ones(1, *turned.shape), turned)).numpy()
    dense = grid.pad(1).with_spacing(0.25)
    field = Image(effect.function(Image(torch.ones(1, *dense.shape), dense)), dense)
    seen = field.on(turned, antialias=False).numpy()
    inside, _ = core_and_outside(dense, turned)
    np.testing.assert_allclose(fine[0, inside], seen[0, inside], rtol=1e-3)
    assert inside.mean() > 0.3


def test_bias_multiplies_the_signal_above_air():
    grid = Grid((8, 8, 8))
    image = noise(grid).replace(fill=-4.0)
    op = tv.RandomBiasField((0.5, 0.5), wavelength=(8, 16))
    field = op(Image(torch.ones(1, 8, 8, 8), grid), rng=np.random.default_rng(1)).numpy()
    made = op(image, rng=np.random.default_rng(1)).numpy()
    np.testing.assert_allclose(made, -4 + (image.numpy() + 4) * field, rtol=1e-4, atol=1e-5)


# ---- spikes -------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(grid=any_grid(least=3, most=9), seed=st.integers(0, 2**32))
def test_a_spike_is_one_line_of_k_space_and_its_mirror_image(grid: Grid, seed: int):
    image = noise(grid)
    made = tv.RandomSpike((0.5, 0.5))(image, rng=np.random.default_rng(seed))
    spectrum = np.abs(np.fft.fftn((made.numpy() - image.numpy())[0].astype(np.float64)))
    largest = np.sort(spectrum.ravel())[::-1]
    assert spectrum[0, 0, 0] <= 1e-3 * largest[0]
    assert (largest[2:] <= 1e-3 * largest[0] + 1e-4).all()
    amplitude = 0.5 * float(np.ptp(image.numpy()))
    assert np.abs(made.numpy() - image.numpy()).max() <= amplitude * (1 + 1e-4)


# ---- ghosts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [2, 3, 4])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ghosts_stand_at_even_shifts_with_their_share(copies: int, axis: int):
    image = noise(Grid((12, 24, 12)))
    strength = 0.3
    made = tv.RandomGhosting((strength, strength), copies=copies, axes=axis)(image).numpy()
    step = image.shape[axis + 1] // copies
    ghosts = sum(np.roll(image.numpy(), k * step, axis + 1) for k in range(1, copies))
    expected = (1 - strength) * image.numpy() + strength / (copies - 1) * ghosts
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_ghosts_of_a_frame_that_the_copies_do_not_divide():
    image = noise(Grid((13, 1, 1)))
    weights = np.where(np.abs(np.rint(np.fft.fftfreq(13) * 13)) % 3 == 0, 1.0, 1 - 0.4 - 0.4 / 2)
    made = tv.RandomGhosting((0.4, 0.4), copies=3)(image).numpy().ravel()
    np.testing.assert_allclose(made, np.fft.ifft(weights * np.fft.fft(image.numpy().ravel())).real, atol=1e-5)


# ---- ringing ------------------------------------------------------------------------------------------


def test_gibbs_of_a_step_is_its_partial_fourier_sum():
    size, kept = 1024, 0.1
    step = torch.zeros(1, size, 1, 1)
    step[:, size // 2 :] = 1
    made = tv.RandomGibbs((kept, kept))(Image(step, Grid((size,)))).numpy().ravel()
    # Dirichlet sum of a periodic step, harmonics up to kept * size / 2.
    t = np.arange(size)
    most = int(kept * size / 2)
    expected = np.full(size, 0.5)
    for k in range(1, most + 1, 2):
        # coefficients of the sampled step: a geometric sum
        c = (np.exp(-2j * np.pi * k * np.arange(size // 2, size) / size)).sum() / size
        expected += 2 * (c * np.exp(2j * np.pi * k * t / size)).real
    np.testing.assert_allclose(made, expected, atol=1e-5)
    # The overshoot of the sine integral: Si(pi) / pi - 1/2 = 8.95 % of the step.
    assert abs(made.max() - 1 - 0.0895) < 0.005


@pytest.mark.parametrize("axes", [None, 1, (0, 2)])
def test_gibbs_is_a_box_in_k_space(axes):
    image = noise(Grid((8, 9, 10)), channels=2)
    made = tv.RandomGibbs((0.5, 0.5), axes=axes)(image).numpy()
    spectrum = np.fft.fftn(image.numpy(), axes=(1, 2, 3))
    for axis in range(3) if axes is None else np.atleast_1d(axes):
        size = image.shape[axis + 1]
        kept = np.abs(np.fft.fftfreq(size) * size) <= 0.25 * size
        spectrum = spectrum * kept.reshape([-1 if a == axis + 1 else 1 for a in range(4)])
    np.testing.assert_allclose(made, np.fft.ifftn(spectrum, axes=(1, 2, 3)).real, atol=1e-5)


# ---- motion -------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(grid=any_grid(least=2, most=9), seed=st.integers(0, 2**32))
def test_no_movement_is_no_change(grid: Grid, seed: int):
    image = noise(grid, seed)
    made = tv.RandomMotion(rotation=0, translation=0, movements=3)(image, rng=np.random.default_rng(seed))
    np.testing.assert_allclose(made.numpy(), image.numpy(), atol=1e-6)


def test_motion_is_k_space_of_two_poses():
    grid = Grid((32, 1, 1))
    image = noise(grid)
    seen: list[Grid] = []

    def see(where: Grid) -> Image:
        seen.append(where)
        return image.on(where)

    op = tv.RandomMotion(rotation=0, translation=(6, 0, 0), movements=1)
    made = op.remade(see, grid, np.random.default_rng(3))
    assert made is not None
    still, moved = image.on(seen[0]).numpy().ravel(), image.on(seen[1]).numpy().ravel()
    assert seen[0] == grid
    assert 0.5 < abs(seen[1].affine[0, 3]) <= 6
    lines = np.fft.fftfreq(32) * 32
    options = []
    for cut in range(-16, 16):
        first, second = (moved, still) if cut <= 0 else (still, moved)
        spectrum = np.where(lines < cut, np.fft.fft(first), np.fft.fft(second))
        options.append(np.abs(np.fft.ifft(spectrum).real - made.numpy().ravel()).max())
    # One cut, and one only, explains it; the middle of k-space is of the pose that stays.
    assert min(options) < 1e-5
    assert sorted(options)[1] > 1e-3


def test_motion_keeps_where_the_anatomy_is():
    i, j, k = np.meshgrid(*[np.arange(32) - 15.5] * 3, indexing="ij")
    ball = (np.sqrt(i**2 + j**2 + k**2) < 9).astype(np.float32)
    image = Image(torch.from_numpy(ball[None]), Grid((32, 32, 32)))
    drifts = []
    for seed in range(10):
        made = tv.RandomMotion(rotation=5, translation=3)(image, rng=np.random.default_rng(seed)).numpy()[0]
        weight = np.clip(made, 0.5, None) - 0.5
        drifts.append([(weight * axis).sum() / weight.sum() for axis in (i, j, k)])
    assert np.abs(drifts).max() < 1.0


def test_motion_sees_beyond_the_crop():
    # A ramp has no border in it: pulled from beyond the crop, the moved pose is the ramp itself, shifted.
    ramp = Image(torch.arange(60.0).reshape(1, 60, 1, 1), Grid((60,)))
    grid = ramp.grid.crop((20, 0, 0), (16, 1, 1))
    made = tv.RandomMotion(rotation=0, translation=(3, 0, 0), movements=1).remade(
        ramp.on, grid, np.random.default_rng(0)
    )
    assert made is not None
    # The difference of the poses is constant, so that every line of k-space but the middle one agrees.
    np.testing.assert_allclose(made.numpy().ravel(), np.arange(20, 36), atol=1e-4)
