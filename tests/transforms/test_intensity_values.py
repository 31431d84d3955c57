# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
"""Numbers of the intensity nodes, from closed forms, NumPy and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import evaluate
from scipy import ndimage, stats

import truevox as tv
from truevox import GraphError, Grid, Image
from truevox.pipeline import Plan


def noise(shape: tuple[int, ...], spacing: tuple[float, ...] = (1, 1, 1), seed: int = 0) -> Image:
    data = np.random.default_rng(seed).normal(10, 4, size=(2, *shape)).astype(np.float32)
    return Image(torch.from_numpy(data), Grid(shape, np.diag([*spacing, 1.0])))


# ---- one scale ----------------------------------------------------------------------------------------


def test_zscore_of_a_mask():
    image = noise((8, 7, 6))
    where = np.random.default_rng(1).random((8, 7, 6)) < 0.3
    mask = Image(torch.from_numpy(where[None].astype(np.uint8)), image.grid, "label")
    inside = image.numpy()[:, where].astype(np.float64)
    expected = (image.numpy() - inside.mean(1).reshape(-1, 1, 1, 1)) / inside.std(1).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(tv.ZScore(mask=mask)(image).numpy(), expected, rtol=1e-4, atol=1e-5)
    scan, brain = tv.Input("x", channels=2), tv.Input("brain", kind="label")
    graph = tv.ZScore(mask=brain)(scan)
    made = evaluate([graph], {"x": image, "brain": mask})[0]
    np.testing.assert_allclose(made.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_zscore_of_a_mask_on_another_grid_and_of_a_probability():
    image = noise((8, 8, 8))
    half = Image(torch.zeros(1, 8, 8, 8), image.grid, "probability")
    half.data[:, 4:] = 0.7
    half.data[:, :4] = 0.4
    shifted = half.on(image.grid.crop((2, 0, 0), (6, 8, 8)))
    inside = image.numpy()[:, 4:].reshape(2, -1).astype(np.float64)
    for mask in (half, shifted):
        made = tv.ZScore(mask=mask)(image).numpy()[:, 4:].reshape(2, -1)
        np.testing.assert_allclose(made.mean(1), 0, atol=1e-5)
        np.testing.assert_allclose(
            made, (inside - inside.mean(1)[:, None]) / inside.std(1)[:, None], atol=1e-4
        )


def test_a_mask_that_patches_look_at_is_kept_with_the_prefix():
    scan, brain = tv.Input("x"), tv.Input("brain", kind="label")
    patch = tv.RandomCrop(8)(scan)
    plan = Plan([tv.ZScore(mask=brain)(patch), tv.Like(brain)(patch)])
    assert plan.ends == {scan.call, brain.call}
    assert Plan([tv.Like(brain)(patch)]).ends == {scan.call}


def test_zscore_refuses_an_empty_mask():
    image = noise((4, 4, 4))
    with pytest.raises(GraphError, match="empty"):
        tv.ZScore(mask=Image(torch.zeros(1, 4, 4, 4, dtype=torch.uint8), image.grid, "label"))(image)


def test_clip_takes_the_percentiles_of_each_channel():
    data = np.random.default_rng(1).normal([[0.0], [500.0]], [[1.0], [90.0]], (2, 1000)).astype(np.float32)
    image = tv.Image(torch.from_numpy(data).reshape(2, 10, 10, 10), tv.Grid((10, 10, 10)))
    low, high = np.percentile(data, (5, 90), axis=1)[..., None]
    for made, expected in (
        (tv.Clip(5, 90, unit="percentile"), np.clip(data, low, high)),
        (tv.Clip(high=90, unit="percentile"), np.minimum(data, high)),
    ):
        np.testing.assert_allclose(made(image).numpy().reshape(2, -1), expected, rtol=1e-6)


def test_zscore_between_percentiles_forgets_outliers():
    data = np.random.default_rng(0).normal(size=5000)
    data[:20] = 1e6
    image = Image(torch.from_numpy(data.reshape(1, -1, 1, 1)), Grid((5000,)))
    low, high = np.percentile(data, (1, 99))
    kept = data[(data >= low) & (data <= high)]
    expected = (data - kept.mean()) / kept.std()
    np.testing.assert_allclose(
        tv.ZScore(percentiles=(1, 99))(image).numpy().ravel(), expected, rtol=1e-4, atol=1e-4
    )
    assert abs(np.median(expected)) < 0.1


def test_rescale_by_the_formula():
    image = noise((6, 5, 4)).replace(fill=-1000.0)
    ends = np.percentile(image.numpy().reshape(2, -1), (5, 95), axis=1).reshape(2, 2, 1, 1, 1)
    expected = -1 + 2 * (image.numpy() - ends[0]) / (ends[1] - ends[0])
    free = tv.Rescale(-1, 1, percentiles=(5, 95), clip=False)(image)
    np.testing.assert_allclose(free.numpy(), expected, rtol=1e-4, atol=1e-5)
    clipped = tv.Rescale(-1, 1, percentiles=(5, 95))(image)
    np.testing.assert_allclose(clipped.numpy(), np.clip(expected, -1, 1), atol=1e-5)
    assert clipped.fill == -1.0


def test_rescale_of_a_constant_is_its_lower_end():
    image = Image(torch.full((1, 3, 3, 3), 7.0), Grid((3, 3, 3)))
    assert tv.Rescale(2, 5)(image).data.unique().tolist() == [2.0]


@pytest.mark.parametrize("name", ["brain", "lung", "bone"])
def test_window_by_the_formula(name: str):
    level, width = {"brain": (40, 80), "lung": (-600, 1500), "bone": (400, 1800)}[name]
    hu = np.linspace(-1024, 3071, 300).astype(np.float32)
    image = Image(torch.from_numpy(hu.reshape(1, -1, 1, 1)), Grid((300,)), fill=-1024)
    expected = np.interp(hu, [level - width / 2, level + width / 2], [0, 1])
    made = tv.Window.preset(name)(image)
    np.testing.assert_allclose(made.numpy().ravel(), expected, atol=1e-6)
    assert made.fill == pytest.approx(expected[0])


# ---- histograms ---------------------------------------------------------------------------------------


def test_nyul_by_hand():
    # Percentiles 0, 50, 100 of 0..100 and of 0..100 squared, on a scale of 0 to 10.
    grid = Grid((101,))
    line = torch.arange(101.0).reshape(1, -1, 1, 1)
    images = [Image(line, grid), Image(line**2, grid)]
    made = tv.NyulLandmarks.fit(images, percentiles=(0, 50, 100), scale=(0, 10), foreground=None)
    np.testing.assert_allclose(made.landmarks, [[0, (5 + 2.5) / 2, 10]])
    seen = made(images[1]).numpy().ravel()
    np.testing.assert_allclose(seen, np.interp(line.ravel() ** 2, [0, 2500, 10000], [0, 3.75, 10]), rtol=1e-5)


def test_nyul_undoes_a_scanner_s_scale():
    anatomy = noise((12, 12, 12)).data[:1]
    grid = Grid((12, 12, 12))
    scans = [Image(anatomy * gain + offset, grid) for gain, offset in ((1, 0), (30, 100), (0.2, -3))]
    made = tv.NyulLandmarks.fit(scans)
    first = made(scans[0]).numpy()
    for scan in scans[1:]:
        np.testing.assert_allclose(made(scan).numpy(), first, atol=2e-2)
    # Beyond the outer landmarks the outer pieces go on: nothing is cut.
    assert len(np.unique(first)) == len(np.unique(anatomy.numpy()))


def test_nyul_from_a_cohort(tmp_path):
    rows = ["case,image"]
    for k in range(2):
        image = noise((5, 5, 5), seed=k)
        tv.save(image[0:1], tmp_path / f"c{k}.nii.gz")
        rows.append(f"c{k},c{k}.nii.gz")
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    cohort = tv.Cohort.from_csv(tmp_path / "cohort.csv")
    fitted = tv.NyulLandmarks.fit(cohort, "image")
    by_hand = tv.NyulLandmarks.fit([noise((5, 5, 5), seed=k)[0:1] for k in range(2)])
    np.testing.assert_allclose(fitted.landmarks, by_hand.landmarks, rtol=1e-6)


def test_nyul_as_torchio_does_it(tmp_path):
    tio = pytest.importorskip("torchio")
    rng = np.random.default_rng(2)
    grid = Grid((9, 8, 7))
    images, files = [], []
    for k in range(3):
        data = rng.gamma(2 + k, 5, (1, 9, 8, 7)).astype(np.float32)
        images.append(Image(torch.from_numpy(data), grid))
        files.append(tmp_path / f"{k}.nii")
        tv.save(images[-1], files[-1])
    theirs = tio.HistogramStandardization.train(files, progress=False)
    apply = tio.HistogramStandardization({"x": theirs})
    ours = tv.NyulLandmarks.fit(images, foreground=None)
    for image in images:
        expected = apply(tio.Subject(x=tio.ScalarImage(tensor=image.data))).x.data
        np.testing.assert_allclose(ours(image).numpy(), expected.numpy(), rtol=1e-4, atol=1e-3)


def test_histogram_match_gives_the_reference_s_distribution():
    rng = np.random.default_rng(0)
    grid = Grid((20, 20, 20))
    reference = Image(torch.from_numpy(rng.gamma(2, 3, (1, 20, 20, 20)).astype(np.float32)), grid)
    image = Image(torch.from_numpy(rng.normal(-4, 9, (1, 20, 20, 20)).astype(np.float32)), grid)
    made = tv.HistogramMatch.fit([reference])(image)
    assert stats.ks_2samp(made.numpy().ravel(), reference.numpy().ravel()).statistic < 0.01
    order = np.argsort(image.numpy().ravel(), kind="stable")
    assert (np.diff(made.numpy().ravel()[order]) >= 0).all()


def test_histograms_refuse_another_number_of_channels():
    node = tv.HistogramMatch.fit([noise((4, 4, 4))])
    with pytest.raises(GraphError, match="channels"):
        node(noise((4, 4, 4))[0:1])


# ---- random values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("signal", "std"), [(0.0, 2.0), (3.0, 2.0), (40.0, 2.0)])
@pytest.mark.parametrize("air", [0.0, -1.5])
def test_rician_mean_and_variance(signal: float, std: float, air: float):
    # Signal is counted from the fill, where air went.
    image = Image(torch.full((1, 60, 60, 60), signal + air), Grid((60, 60, 60)), fill=air)
    data = tv.RandomRicianNoise((std, std))(image, rng=np.random.default_rng(0)).numpy().astype(np.float64)
    law = stats.rice(signal / std, scale=std)
    error = law.std() / math.sqrt(data.size)
    assert abs(data.mean() - air - law.mean()) < 4 * error
    assert abs(data.var() / law.var() - 1) < 4 * math.sqrt(2 / data.size) * 1.5
    assert stats.kstest(data.ravel()[::20] - air, law.cdf).pvalue > 1e-3


def test_contrast_keeps_the_mean_and_scales_the_deviation():
    image = noise((10, 9, 8))
    made = tv.RandomContrast((1.5, 1.5))(image).numpy()
    np.testing.assert_allclose(made.mean((1, 2, 3)), image.numpy().mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(made.std((1, 2, 3)), 1.5 * image.numpy().std((1, 2, 3)), rtol=1e-4)
    kept = tv.RandomContrast((1.5, 1.5), keep_range=True)(image).numpy()
    lows, highs = image.numpy().min((1, 2, 3)), image.numpy().max((1, 2, 3))
    bounds = lows.reshape(-1, 1, 1, 1), highs.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(kept, np.clip(made, *bounds), atol=1e-5)


def test_a_draw_per_channel_differs_and_one_for_all_does_not():
    image = Image(torch.zeros(3, 4, 4, 4), Grid((4, 4, 4)))
    rng = np.random.default_rng(0)
    one = tv.RandomBrightness(1.0)(image, rng=rng).data[:, 0, 0, 0]
    each = tv.RandomBrightness(1.0, per_channel=True)(image, rng=rng).data[:, 0, 0, 0]
    assert len(one.unique()) == 1
    assert len(each.unique()) == 3
    assert float(each.abs().max()) <= 1


def test_draws_fill_their_range():
    image = Image(torch.zeros(1, 1, 1, 1), Grid((1,)))
    drawn = [float(tv.RandomBrightness((2, 6))(image).data) for _ in range(400)]
    assert stats.kstest(drawn, stats.uniform(2, 4).cdf).pvalue > 1e-4


def test_gamma_and_noise_of_a_range():
    image = noise((20, 20, 20))[0:1]
    low, high = float(image.data.min()), float(image.data.max())
    made = tv.RandomGamma((0.5, 0.5))(image).numpy()
    unit = (image.numpy().astype(np.float64) - low) / (high - low)
    np.testing.assert_allclose(made, low + (high - low) * unit ** math.exp(0.5), atol=1e-3)
    added = tv.RandomNoise((2, 2))(image, rng=np.random.default_rng(0)).numpy() - image.numpy()
    assert stats.kstest(added.ravel(), stats.norm(0, 2).cdf).pvalue > 1e-3


# ---- neighbours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 1.3, 3.0)])
@pytest.mark.parametrize("sigma", [0.8, 2.0])
def test_blur_is_scipy_s_in_millimetres(spacing: tuple[float, ...], sigma: float):
    image = noise((21, 18, 12), spacing)
    expected = ndimage.gaussian_filter(
        image.numpy().astype(np.float64),
        sigma=(0, *(sigma / s for s in spacing)),
        mode="nearest",
        truncate=3.0,
    )
    made = tv.RandomBlur((sigma, sigma))(image).numpy()
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_blur_of_long_axes_is_scipy_s_too():
    image = Image(torch.rand(1, 300, 4, 3), Grid((300, 4, 3)))
    expected = ndimage.gaussian_filter(image.numpy(), (0, 5.0, 5.0, 5.0), mode="nearest", truncate=3.0)
    np.testing.assert_allclose(tv.RandomBlur((5, 5))(image).numpy(), expected, atol=1e-5)


def test_an_impulse_spreads_by_sigma_in_millimetres():
    spacing = np.array([1.0, 0.8, 2.0])
    image = Image(torch.zeros(1, 41, 41, 21), Grid((41, 41, 21), np.diag([*spacing, 1])))
    image.data[0, 20, 20, 10] = 1
    sigma = 4.0
    made = tv.RandomBlur((sigma, sigma))(image).numpy()[0].astype(np.float64)
    # Cut at three sigma, a Gaussian keeps 97.3 % of its variance.
    cut = 1 - 6 * stats.norm.pdf(3) / (stats.norm.cdf(3) - stats.norm.cdf(-3))
    for axis in range(3):
        line = made.sum(tuple(a for a in range(3) if a != axis))
        place = (np.arange(len(line)) - (len(line) - 1) / 2) * spacing[axis]
        assert abs((line * place**2).sum() / (sigma**2 * cut) - 1) < 0.03
    assert abs(made.sum() - 1) < 1e-5


def test_sharpen_adds_what_the_blur_takes():
    image = noise((12, 11, 10), (1, 1, 2))
    soft = ndimage.gaussian_filter(
        image.numpy().astype(float), (0, 1.2, 1.2, 0.6), mode="nearest", truncate=3.0
    )
    made = tv.RandomSharpen((0.7, 0.7), sigma=(1.2, 1.2))(image).numpy()
    np.testing.assert_allclose(made, image.numpy() + 0.7 * (image.numpy() - soft), atol=1e-4)


def test_low_resolution_is_averages_interpolated():
    rng = np.random.default_rng(0)
    line = rng.normal(size=24)
    image = Image(torch.from_numpy(line.reshape(1, -1, 1, 1)), Grid((24,), np.diag([0.5, 1, 1, 1])))
    made = tv.RandomLowResolution((2, 2))(image).numpy().ravel()
    coarse = line.reshape(-1, 4).mean(1)
    expected = np.interp(np.arange(24), 1.5 + 4 * np.arange(6), coarse)
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_low_resolution_leaves_coarse_axes_and_keeps_a_ramp():
    i, j, k = np.meshgrid(np.arange(20.0), np.arange(20.0), np.arange(5.0), indexing="ij")
    grid = Grid((20, 20, 5), np.diag([1, 1, 5, 1]))
    image = Image(torch.from_numpy(2 * i - j + 7 * (k % 2))[None], grid)
    made = tv.RandomLowResolution((4, 4))(image).numpy()[0]
    np.testing.assert_allclose(made[2:18, 2:18], image.numpy()[0, 2:18, 2:18], atol=1e-4)


def test_low_resolution_kills_what_the_coarse_lattice_can_not_show():
    i = np.arange(32)
    image = Image(torch.from_numpy(np.cos(np.pi * i).reshape(1, -1, 1, 1)), Grid((32,)))
    made = tv.RandomLowResolution((2, 2))(image).numpy()
    np.testing.assert_allclose(made, 0, atol=1e-6)
