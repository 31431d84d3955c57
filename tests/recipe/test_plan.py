"""Recipes planned from data: what follows from spacing, shape, intensities and label table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truevox.cohort import Case, Cohort
from truevox.errors import CaseError, LabelError, SettingsError
from truevox.labels import Labels
from truevox.networks import UNet
from truevox.recipe import Recipe, plan
from truevox.recipe.shapes import Budget, plan_shapes

SMALL = Budget(voxels=64**3, batch=2 * 64**3, features=16, most_features=128, levels=5)


def write(path: Path, array: np.ndarray, spacing: Sequence[float] = (1, 1, 1), codes: str = "RAS") -> Path:
    affine = np.diag([*spacing, 1.0])
    stored = nibabel.Nifti1Image(array, affine)
    if codes != "RAS":
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(tuple(codes))
        )
        stored = stored.as_reoriented(turn)  # pyright: ignore[reportArgumentType]
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(stored, path)
    return path


def scan(shape: Sequence[int], kind: str = "mr", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, shape)
    if kind == "ct":
        inside = np.zeros(shape, bool)
        inside[2:-2, 2:-2] = True
        return np.where(inside, 40 + 10 * noise, -1000).astype(np.int16)
    if kind == "stripped":
        out = np.zeros(shape, np.float32)
        out[: shape[0] // 2] = 100 + 10 * noise[: shape[0] // 2]
        return out
    return (100 + 10 * noise).astype(np.float32)


def cohort(
    folder: Path,
    shapes: Sequence[Sequence[int]] = ((20, 24, 16),) * 3,
    spacings: Sequence[Sequence[float]] = ((1, 1, 1),) * 3,
    kinds: dict[str, str] | None = None,
    table: Labels | None = None,
    values: Sequence[int] = (1,),
    codes: str = "RAS",
) -> Cohort:
    cases = []
    for k, (shape, spacing) in enumerate(zip(shapes, spacings, strict=True)):
        mask = np.zeros(shape, np.uint8)
        for n, value in enumerate(values):
            mask[shape[0] // 2 - 2 - n, 3:-3, shape[2] // 2] = value
        files: dict[str, Any] = {
            name: write(folder / f"{k}_{name}.nii", scan(shape, kind, k), spacing, codes)
            for name, kind in (kinds or {"t1": "mr"}).items()
        }
        files["label"] = write(folder / f"{k}_label.nii", mask, spacing, codes)
        cases.append(Case(f"p{k}", files))
    return Cohort(cases, {"label": table} if table else None)


# ---- shapes -----------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    shape=st.tuples(*[st.integers(8, 700)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    budget=st.sampled_from([SMALL, Budget(128**3, 2 * 128**3, 32, 320, 6)]),
)
def test_the_network_can_produce_the_patch(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], budget: Budget
) -> None:
    made = plan_shapes(shape, spacing, budget)
    total = np.prod(made.strides, axis=0) if made.strides else np.ones(3)
    assert (np.asarray(made.size) % total == 0).all()
    assert (np.asarray(made.size) // total >= np.minimum(shape, 4)).all()
    # Rounding up adds less than a voxel of the deepest level, which has at least four.
    assert np.prod(made.size) <= budget.voxels * 1.25**3
    assert (np.asarray(made.size) < np.asarray(shape) + total).all()
    assert len(made.channels) == len(made.kernels) == len(made.strides) + 1 <= budget.levels
    assert max(made.channels) <= budget.most_features
    assert made.batch_size >= 2


def test_a_unet_takes_what_is_planned() -> None:
    for shape, spacing in (((300, 300, 30), (0.7, 0.7, 5.0)), ((40, 40), (1.0, 1.0)), ((9, 9, 9), (2, 2, 2))):
        made = plan_shapes(shape, spacing, SMALL)
        net = UNet(1, 2, len(shape), made.channels, made.strides, made.kernels)
        assert net.output_shape(made.size) == made.size


def test_thick_slices_are_pooled_when_the_others_have_caught_up() -> None:
    made = plan_shapes((256, 256, 24), (1.0, 1.0, 4.0), SMALL)
    assert made.strides[:2] == ((2, 2, 1), (2, 2, 1))
    assert made.strides[2] == (2, 2, 2)
    assert made.kernels[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))


def test_a_patch_is_as_long_in_mm_along_all_axes() -> None:
    size = np.array(plan_shapes((500, 500, 500), (1.0, 1.0, 2.0), SMALL).size)
    assert abs(size[0] - 2 * size[2]) <= 16
    assert size[0] == size[1]


# ---- what follows from the data ----------------------------------------------------------------


def test_equal_spacings_are_kept_and_others_meet_in_the_middle(tmp_path: Path) -> None:
    same, _ = plan(cohort(tmp_path / "a", spacings=((1, 1, 2),) * 3))
    assert same.spacing is None
    spacings = ((1, 1, 2), (1, 1.5, 2), (1, 2, 2))
    several, why = plan(cohort(tmp_path / "b", spacings=spacings))
    assert several.spacing == (1.0, 1.5, 2.0)
    assert any("resampled" in sentence for sentence in why)


def test_axes_are_those_of_the_patient(tmp_path: Path) -> None:
    shapes, spacings = ((40, 30, 8),) * 3, ((1, 1, 5),) * 3
    one, _ = plan(cohort(tmp_path / "a", shapes, spacings))
    two, _ = plan(cohort(tmp_path / "b", shapes, spacings, codes="SPL"))
    assert one.resolved() == two.resolved()
    assert one.network.kernels != 3
    assert one.augment.rotation == (0.0, 0.0, 15.0)


def test_thick_slices_of_many_scanners_go_to_the_thin_ones(tmp_path: Path) -> None:
    spacings = ((1, 1, 4), (1, 1, 6), (1, 1, 8))
    made, _ = plan(cohort(tmp_path, spacings=spacings))
    assert isinstance(made.spacing, tuple)
    assert made.spacing[2] == pytest.approx(np.percentile([4, 6, 8], 10))


def test_intensities_follow_the_kind_of_image(tmp_path: Path) -> None:
    kinds = {"t1": "mr", "brain": "stripped", "scan": "ct"}
    made, _ = plan(cohort(tmp_path, kinds=kinds))
    t1, brain, ct = made.normalise, made.normalise.each["brain"], made.normalise.each["scan"]
    assert (t1.method, t1.mask) == ("zscore", None)
    assert (brain.method, brain.mask) == ("zscore", "nonzero")
    assert (ct.method, ct.clip_unit) == ("window", "value")
    assert ct.clip is not None
    # Labelled tissue is 40 HU, standard deviation 10: 0.5 and 99.5 % lie 2.58 of them away; 54 voxels tell.
    assert ct.clip == pytest.approx((40 - 25.8, 40 + 25.8), abs=8)


def test_names_of_channels_say_what_they_are(tmp_path: Path) -> None:
    data = cohort(tmp_path, kinds={"a": "mr", "b": "mr"})
    made, _ = plan(Cohort(data, data.labels, {"a": "CT", "b": "noNorm"}))
    assert (made.normalise.method, made.normalise.each["b"].method) == ("window", "none")


def test_an_image_is_not_planned_as_a_label_of_many_classes(tmp_path: Path) -> None:
    ringing = np.random.default_rng(0).integers(0, 255, (20, 24, 16)).astype(np.uint8)
    files: dict[str, Any] = {"t1": write(tmp_path / "t1.nii", scan((20, 24, 16)))}
    files["mask"] = write(tmp_path / "mask.nii", ringing)
    with pytest.raises(LabelError, match="looks like an image") as caught:
        plan(Cohort([Case("p1", files)]))
    assert (caught.value.case, caught.value.file) == ("p1", str(files["mask"]))


def test_scanners_differ_now_and_then_by_the_shortest_voxel(tmp_path: Path) -> None:
    data = cohort(tmp_path, spacings=((0.8, 0.8, 5),) * 3)
    augment = plan(data)[0].augment
    assert augment.elastic is None
    assert augment.blur is not None
    assert augment.blur.sigma == (0.4, 0.8)
    assert augment.low_resolution is not None
    assert augment.low_resolution.spacing == (0.8, 1.6)
    for look in (augment.contrast, augment.brightness, augment.blur, augment.low_resolution):
        assert look is not None
        assert 0 < look.probability < 0.2
    mapped = plan(Cohort(data, data.labels, {"t1": "noNorm"}))[0].augment
    assert (mapped.contrast, mapped.brightness, mapped.blur, mapped.low_resolution) == (None,) * 4


def test_the_window_makes_air_what_lies_outside(tmp_path: Path) -> None:
    data = cohort(tmp_path, kinds={"ct": "ct"})
    made, _ = plan(data, ["network.channels=[2,4]", "network.strides=2", "network.kernels=3"])
    source = next(c.op for c in made.build().plan.calls if getattr(c.op, "column", None) == "ct")
    assert made.normalise.clip is not None
    assert getattr(source, "fill", None) == made.normalise.clip[0]


def test_volumes_of_a_4d_file_are_channels(tmp_path: Path) -> None:
    data = cohort(tmp_path)
    for k, case in enumerate(data):
        four = np.stack([scan((20, 24, 16), seed=10 * k + c) for c in range(3)], axis=-1)
        write(case.path("t1"), four)
    made, why = plan(data)
    assert (made.channels, made.build().inputs) == ({"t1": 3}, ["t1"])
    assert "3 channels" in why[0]
    write(data["p1"].path("t1"), scan((20, 24, 16)))
    with pytest.raises(CaseError, match="another number of volumes") as caught:
        plan(data)
    assert caught.value.case == "p1"


def test_pictures_are_learned_in_two_dimensions(tmp_path: Path) -> None:
    data = cohort(tmp_path, shapes=((64, 48, 1),) * 3)
    made, _ = plan(data)
    assert (made.network.ndim, made.patch.size) == (2, (64, 48))
    made.build()


def test_labels_without_a_table_are_those_that_are_there(tmp_path: Path) -> None:
    made, _ = plan(cohort(tmp_path, values=(3, 7)))
    assert made.table == Labels({"label3": 3, "label7": 7})


def test_regions_make_sigmoids(tmp_path: Path) -> None:
    table = Labels({"whole": [1, 2], "core": 2})
    made, _ = plan(cohort(tmp_path, values=(1, 2), table=table))
    assert made.table == table
    assert made.augment.flip == [0]
    sided, _ = plan(cohort(tmp_path, values=(1, 2), table=Labels({"left lung": 1, "right lung": 2})))
    assert sided.augment.flip == []


def test_the_image_on_the_grid_of_the_label_comes_first(tmp_path: Path) -> None:
    data = cohort(tmp_path, kinds={"a": "mr", "b": "mr"})
    for case in data:
        write(case.path("a"), scan((10, 12, 8)), (2, 2, 2))
    made, why = plan(data)
    assert (made.images, made.align) == (["b", "a"], True)
    assert any("In 3 cases grids differ" in sentence for sentence in why)


def test_what_is_given_stays_and_the_rest_is_planned_around_it(tmp_path: Path) -> None:
    data = cohort(tmp_path, kinds={"a": "mr", "b": "mr"})
    made, _ = plan(data, ["images=[b]", "train.max_steps=70", "spacing=2", "patch.foreground=0.25"])
    assert (made.images, made.train.max_steps, made.train.warmup_steps) == (["b"], 70, 7)
    assert (made.spacing, made.patch) == (2.0, made.patch.model_copy(update={"size": (10, 12, 8)}))
    assert made.patch.foreground == 0.25


def test_an_accelerator_gets_more(tmp_path: Path) -> None:
    data = cohort(tmp_path, shapes=((160, 160, 140),) * 2, spacings=((1, 1, 1),) * 2)
    sizes = [np.prod(plan(data, memory=m)[0].patch.size) for m in (None, 6 * 2**30, 80 * 2**30)]  # type: ignore[arg-type]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[2] <= 128**3 * 1.25**3


def test_a_plan_is_the_same_each_time_and_reads_back(tmp_path: Path) -> None:
    data = cohort(tmp_path, kinds={"a": "mr", "b": "stripped"}, spacings=((1, 1, 1), (1, 1, 2), (1, 1, 3)))
    made, _ = plan(data)
    assert plan(data)[0].digest == made.digest
    made.to_yaml(tmp_path / "recipe.yaml")
    assert Recipe.from_yaml(tmp_path / "recipe.yaml").digest == made.digest
    assert "&" not in (tmp_path / "recipe.yaml").read_text()


def test_test_cases_are_not_looked_at(tmp_path: Path) -> None:
    data = cohort(tmp_path)
    hidden = Case("t", {"t1": tmp_path / "none.nii", "label": tmp_path / "none.nii"}, split="test")
    assert plan(Cohort([*data, hidden]))[0].digest == plan(data)[0].digest


@pytest.mark.parametrize(
    ("columns", "text", "remedy"),
    [
        (("t1", "tumour"), "which column is to be learned", "--set label=COLUMN"),
        (("t1", "mask_a", "mask_b"), "which column is to be learned", "--set label=COLUMN"),
        (("mask",), "no image that all", "--set images"),
    ],
)
def test_columns_that_are_not_clear(columns: tuple[str, ...], text: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        plan(Cohort([Case("p1", {name: Path(f"{name}.nii") for name in columns})]))
    assert remedy in str(caught.value.remedy)


def test_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing to learn"):
        plan(cohort(tmp_path, values=()))


def test_images_that_only_some_have_are_left_out(tmp_path: Path) -> None:
    data = cohort(tmp_path, kinds={"a": "mr", "b": "mr"})
    cases = [Case(c.id, {**c.values, "b": None} if c.id == "p1" else c.values) for c in data]
    made, why = plan(Cohort(cases))
    assert made.images == ["a"]
    assert any("have b: left out" in sentence for sentence in why)
