"""Volumes in ml: phantoms whose volume is known in closed form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox import io
from truevox.errors import FileError, LabelError, SettingsError
from truevox.image import Image
from truevox.labels import Labels
from truevox.measures import VOLUME_COLUMNS, Output, Volume, volume, volumes_table, write_outputs
from truevox.measures.volumes import Method
from truevox.space import Grid

TWO = Labels({"anterior": 1, "posterior": 2})
REGIONS = Labels({"whole": [1, 2], "core": 2})


def image(data: Any, grid: Grid, kind: Any, labels: Labels | None = None) -> Image:
    """An image of an array or a tensor."""
    return Image(data, grid, kind, labels=labels)


def only(found: Volume | dict[str, Volume]) -> Volume:
    """The volume of an image of one class."""
    assert isinstance(found, Volume)
    return found


def oblique(spacing: tuple[float, float, float], angle: float, shear: float = 0.0) -> np.ndarray:
    """Affine turned about z, optionally sheared; shear keeps the volume."""
    c, s = math.cos(angle), math.sin(angle)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, shear], [s, c, 0], [0, 0, 1]]) @ np.diag(spacing)
    return matrix


def ml(found: Volume | dict[str, Volume]) -> dict[str, float]:
    """Millilitres by label."""
    return {one.label: one.ml for one in ([found] if isinstance(found, Volume) else found.values())}


@given(
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    angle=st.floats(-3, 3),
    shear=st.floats(-0.5, 0.5),
    mirrored=st.booleans(),
    p=st.floats(0, 1, width=32),
)
def test_a_box_has_the_same_volume_on_any_grid(
    spacing: tuple[float, float, float], angle: float, shear: float, mirrored: bool, p: float
) -> None:
    grid = Grid((7, 8, 9), oblique(spacing, angle, shear))
    grid = grid.flip(0) if mirrored else grid
    data = np.zeros((1, 7, 8, 9), np.float32)
    data[0, 2:5, 1:5, 3:5] = 1
    exact = 3 * 4 * 2 * math.prod(spacing) / 1000
    assert only(volume(image(data * p, grid, "probability"))).ml == pytest.approx(exact * p, rel=1e-9)
    assert only(volume(image(data.astype(np.uint8), grid, "label"))).ml == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_partial_volumes_of_a_ball_sum_to_its_volume(angle: float) -> None:
    # Partial volume as the probability gives 4/3 pi r^3 to the accuracy of the subsampling.
    radius, sub = 9.3, 4
    grid = Grid((26, 26, 10), oblique((1, 1, 3), angle))
    fine = grid.lattice(-0.5 + 0.5 / sub, 1 / sub, (26 * sub, 26 * sub, 10 * sub))
    axes = np.stack(np.meshgrid(*[np.arange(n) for n in fine.shape], indexing="ij"), -1)
    inside = np.linalg.norm(fine.to_world(axes) - grid.centre, axis=-1) < radius
    p = inside.reshape(26, sub, 26, sub, 10, sub).mean((1, 3, 5))[None].astype(np.float32)
    exact = 4 / 3 * math.pi * radius**3 / 1000
    assert only(volume(image(p, grid, "probability"))).ml == pytest.approx(exact, rel=2e-3)


def test_expected_and_threshold_differ_by_definition() -> None:
    data = np.array([0.2, 0.5, 0.5001, 0.9], np.float32).reshape(1, 4, 1, 1)
    one = image(data, Grid((4, 1, 1), np.diag([10.0, 10, 10, 1])), "probability")
    assert only(volume(one)).ml == pytest.approx(2.1001, rel=1e-6)
    assert only(volume(one, "threshold")).ml == pytest.approx(2.0)  # 0.5 itself is outside
    assert only(volume(one, "threshold", 0.15)).ml == pytest.approx(4.0)


def test_exclusive_classes_are_decided_by_the_most_probable() -> None:
    # Columns are voxels; the second class never passes 0.5 and still wins one of them.
    p = torch.tensor([[0.3, 0.6, 0.1], [0.3, 0.2, 0.2], [0.4, 0.2, 0.7]]).reshape(3, 3, 1, 1)
    one = image(p, Grid((3, 1, 1), np.diag([10.0, 10, 10, 1])), "probability", labels=TWO)
    assert ml(volume(one, "threshold")) == pytest.approx({"anterior": 0.0, "posterior": 2.0})
    assert ml(volume(one)) == pytest.approx({"anterior": 0.7, "posterior": 1.3})
    with pytest.raises(SettingsError, match="no threshold"):
        volume(one, "threshold", 0.3)


def test_regions_overlap() -> None:
    grid = Grid((4, 1, 1), np.diag([10.0, 10, 10, 1]))
    values = torch.tensor([0, 1, 2, 2]).reshape(1, 4, 1, 1)
    found = volume(image(values, grid, "label", labels=REGIONS))
    assert ml(found) == pytest.approx({"whole": 3.0, "core": 2.0})
    masks = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1]]).reshape(2, 4, 1, 1)
    found = volume(image(masks, grid, "label", labels=REGIONS))
    assert ml(found) == pytest.approx({"whole": 3.0, "core": 2.0})
    p = volume(image(masks * 0.75, grid, "probability", labels=REGIONS), "threshold", 0.7)
    assert ml(p) == pytest.approx({"whole": 3.0, "core": 2.0})


def test_uncovered_voxels_are_a_status() -> None:
    data = np.full((1, 4, 1, 1), 0.9, np.float32)
    data[0, 2] = np.nan
    methods: tuple[Method, ...] = ("expected", "threshold")
    for method in methods:
        found = volume(image(data, Grid((4, 1, 1)), "probability"), method)
        assert isinstance(found, Volume)
        assert (found.status, math.isnan(found.ml)) == ("uncovered", True)


def test_sums_are_float64() -> None:
    # A float32 sum, even pairwise, is off by 1e-7 of the value.
    data = np.full((1, 2**20 + 77, 1, 1), 0.1, np.float32)
    found = volume(image(data, Grid(data.shape[1:]), "probability"))
    assert only(found).ml == pytest.approx((2**20 + 77) * float(np.float32(0.1)) / 1000, rel=1e-12)


def test_an_empty_mask_has_volume_zero() -> None:
    assert only(volume(image(np.zeros((1, 2, 2, 2), np.uint8), Grid((2, 2, 2)), "label"))).ml == 0.0


@pytest.mark.parametrize("kind", ["logits", "scalar", "value"])
def test_kinds_without_a_volume(kind: str) -> None:
    with pytest.raises(LabelError, match=f"kind '{kind}' has no volume") as caught:
        volume(image(np.zeros((1, 2, 2, 2), np.float32), Grid((2, 2, 2)), kind))
    assert ("Sigmoid" in str(caught.value.remedy)) == (kind == "logits")


def test_bad_input() -> None:
    grid = Grid((3, 1, 1))
    two = np.zeros((2, 3, 1, 1), np.float32)
    with pytest.raises(LabelError, match="no names"):
        volume(image(two, grid, "probability"))
    with pytest.raises(LabelError, match="label table differ"):
        volume(image(two, grid, "probability"), labels=TWO)
    with pytest.raises(LabelError, match="several classes"):
        volume(image(np.array([0, 1, 2]).reshape(1, 3, 1, 1), grid, "label"))
    with pytest.raises(LabelError, match=r"leaves \[0, 1\]"):
        volume(image(two[:1] - 4, grid, "probability"))
    refused: list[tuple[Any, float]] = [("mean", 0.5), ("threshold", 0.0), ("threshold", 1.0)]
    refused += [("expected", 0.3)]
    for method, threshold in refused:
        with pytest.raises(SettingsError):
            volume(image(two[:1], grid, "probability"), method, threshold)


# ---- the table ----------------------------------------------------------------------


@settings(max_examples=10)
@given(n=st.integers(0, 20), spacing=st.sampled_from([0.5, 1.0, 2.0]))
def test_the_table_holds_both_methods(
    n: int, spacing: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("preds")
    write_outputs(folder, {"tumour": Output(Labels({"tumour": 3}), "mask")})
    grid = Grid((5, 5, 1), np.diag([spacing, spacing, 4, 1]))
    mask = np.zeros(25, np.uint8)
    mask[:n] = 3
    io.save(image(mask.reshape(1, 5, 5, 1), grid, "label"), folder / "p07" / "tumour.nii.gz")
    p = np.full((1, 5, 5, 1), 0.25, np.float32)
    io.save(image(p, grid, "probability"), folder / "p07" / "tumour_probabilities.nii.gz")
    rows = volumes_table(folder)
    assert all(tuple(row) and set(row) == set(VOLUME_COLUMNS) for row in rows)
    found = {row["method"]: row["volume_ml"] for row in rows}
    size = spacing**2 * 4 / 1000
    assert found == pytest.approx({"threshold": n * size, "expected": 25 * 0.25 * size})
    assert rows[0]["voxel_volume_ml"] == pytest.approx(size)
    assert rows[0]["software"].startswith("truevox")
    assert rows[0]["file"] == "p07/tumour.nii.gz"


def test_the_table_lists_what_failed(tmp_path: Path) -> None:
    write_outputs(tmp_path, {"a": Output(TWO), "b": Output(Labels({"b": 1}))})
    mask = image(np.array([0, 1, 9]).reshape(1, 3, 1, 1), Grid((3, 1, 1)), "label")
    io.save(mask, tmp_path / "p07" / "visit1" / "a.nii.gz")
    rows = volumes_table(tmp_path)
    assert [(r["case"], r["label"], r["status"]) for r in rows] == [
        ("p07/visit1", "anterior", "failed"),
        ("p07/visit1", "posterior", "failed"),
        ("p07/visit1", "b", "failed"),
    ]
    assert "does not declare" in rows[0]["message"]
    assert rows[2]["message"] == "The prediction is missing."
    assert all(math.isnan(r["volume_ml"]) for r in rows)


def test_folders_that_hold_no_predictions(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no labels\.json"):
        volumes_table(tmp_path)
    write_outputs(tmp_path, {"a": Output(TWO)})
    with pytest.raises(FileError, match="holds no predictions"):
        volumes_table(tmp_path)
    for text in ("[]", '{"a": {}}', '{"a": {"names": {"x": 0}}}'):
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(FileError, match="does not describe outputs"):
            volumes_table(tmp_path)
