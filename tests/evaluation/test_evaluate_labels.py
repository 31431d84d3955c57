# pyright: reportAttributeAccessIssue=false
"""Labels are what their files say, not where they stand; contradictions are refused."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

import truevox as tv
from truevox import io
from truevox.cohort import Case
from truevox.errors import LabelError, SettingsError
from truevox.evaluation import EvaluationSettings, evaluate_folders
from truevox.evaluation.label_tables import beside, choose_labels
from truevox.image import Image
from truevox.labels import Labels
from truevox.pipeline.cases import as_case
from truevox.report.error_maps import error_map
from truevox.report.folder import CaseFiles
from truevox.space import Grid

SHAPE = (8, 7, 5)
GRID = Grid(SHAPE, np.diag([-1.0, -1, 1, 1]))
LIVER, KIDNEY, LESION = np.zeros((3, *SHAPE), bool)
LIVER[1:4, 1:4, 1:4] = KIDNEY[4:7, 3:6, 1:4] = LESION[3:6, 2:5, 2:4] = True  # the lesion overlaps both
NAMES = {"liver": LIVER, "kidney": KIDNEY, "lesion": LESION}
VALUES = [-3, -1, 1, 2, 255, 256, 65536, 2**24 + 1, 2**30]
Segment = tuple[str, int | None, int]


def slicer(path: Path, layers: np.ndarray, segments: Sequence[Segment]) -> Path:
    """A .seg.nrrd as 3D Slicer writes it: layers (L, I, J, K), or (I, J, K), by name, layer, value."""
    many = layers.ndim == 4
    lines = [
        "NRRD0004", "type: unsigned char", f"dimension: {layers.ndim}", "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, layers.shape))}",
        f"space directions: {'none ' * many}(1,0,0) (0,1,0) (0,0,1)",
        f"kinds: {'list ' * many}domain domain domain", "encoding: raw", "space origin: (0,0,0)",
    ]  # fmt: skip
    for n, (name, layer, value) in enumerate(segments):
        lines += [f"Segment{n}_ID:=Segment_{n}", f"Segment{n}_Name:={name}"]
        lines += [] if layer is None else [f"Segment{n}_Layer:={layer}", f"Segment{n}_LabelValue:={value}"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + layers.astype(np.uint8).tobytes("F"))
    return path


def nifti(path: Path, array: np.ndarray) -> Path:
    data = array if array.ndim == 4 else array[None]
    io.save(Image(torch.from_numpy(np.ascontiguousarray(data.astype(np.int16))), GRID, "label"), path)
    return path


def layered(path: Path) -> Path:
    """Liver and kidney in one layer, the lesion in another, with a value that liver has too."""
    return slicer(
        path, np.stack([LIVER + 2 * KIDNEY, LESION]), [("liver", 0, 1), ("kidney", 0, 2), ("lesion", 1, 1)]
    )


def scores(folder: Path, labels: str | dict[str, int] | None = None, **more: object) -> dict[str, float]:
    chosen = EvaluationSettings.make({"metrics": ["dice"], "labels": labels, **more})
    found = evaluate_folders(folder / "mine", folder / "theirs", chosen)
    assert not found.failures, found.failures
    return {row["label"]: row["value"] for row in found.rows}


def failure(folder: Path, labels: str | dict[str, int] | None = None, **more: object) -> tuple[str, str]:
    chosen = EvaluationSettings.make({"metrics": ["dice"], "labels": labels, **more})
    [one] = evaluate_folders(folder / "mine", folder / "theirs", chosen).failures
    return one.message, one.remedy


# ---- layers and names ---------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [None, "liver=1,kidney=2,lesion=3", "Lesion=3,LIVER=1"])
@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)))
def test_segments_are_the_same_in_any_order_of_layers(
    tmp_path: Path, labels: str | None, order: tuple[str, ...]
) -> None:
    layered(tmp_path / "mine" / "a.seg.nrrd")
    one_each = np.stack([5 * NAMES[name] for name in order])
    segments = [(name, k, 5) for k, name in enumerate(order)]
    slicer(tmp_path / "theirs" / "a.seg.nrrd", one_each, segments)
    found = scores(tmp_path, labels)
    assert set(found.values()) == {1.0}
    assert {name.casefold() for name in found} == (
        set(NAMES) if labels != "Lesion=3,LIVER=1" else {"lesion", "liver"}
    )


def test_a_layered_file_against_a_label_map_goes_by_the_table_asked_for(tmp_path: Path) -> None:
    layered(tmp_path / "mine" / "a.seg.nrrd")
    nifti(tmp_path / "theirs" / "a.nii.gz", LIVER + 2 * KIDNEY)
    assert scores(tmp_path, "liver=1,kidney=2") == {"liver": 1.0, "kidney": 1.0}
    # A region that the file does not name is made of what it names.
    assert scores(tmp_path, "liver=1,kidney=2,both=1+2") == {"liver": 1.0, "kidney": 1.0, "both": 1.0}
    # Without a table, value 1 of the label map could be the liver or the lesion.
    message, remedy = failure(tmp_path)
    assert "layers that use the same values" in message
    assert "--labels" in remedy
    assert scores(tmp_path, "nonzero")["foreground"] < 1


def test_old_segmentations_have_a_volume_per_segment(tmp_path: Path) -> None:
    layered(tmp_path / "mine" / "a.seg.nrrd")
    segments = [(name, None, 1) for name in ("lesion", "liver", "kidney")]
    slicer(tmp_path / "theirs" / "a.seg.nrrd", np.stack([LESION, LIVER, KIDNEY]), segments)
    assert scores(tmp_path) == {"kidney": 1.0, "lesion": 1.0, "liver": 1.0}


def test_names_that_are_nearly_those_are_refused_and_absent_ones_noted(tmp_path: Path) -> None:
    for side in ("mine", "theirs"):
        layered(tmp_path / side / "a.seg.nrrd")
    message, remedy = failure(tmp_path, "liver=1,lesions=3")
    assert "none of them is 'lesions'" in message
    assert "'lesion'" in remedy
    assert "none of them is 'spleen'" in failure(tmp_path, "spleen=1")[0]
    for side in ("mine", "theirs"):
        slicer(tmp_path / side / "b.seg.nrrd", np.stack([LIVER, KIDNEY]), [("rib 1", 0, 1), ("rib 2", 1, 1)])
        (tmp_path / side / "a.seg.nrrd").unlink()
    # Numbered neighbours are no slips of the pen: the third is absent.
    settings_ = EvaluationSettings(metrics=("dice",), labels="rib_1=1,rib_3=3")
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", settings_)
    assert [(row["label"], row["status"]) for row in found.rows] == [("rib_1", "ok"), ("rib_3", "undefined")]
    for side in ("mine", "theirs"):
        layered(tmp_path / side / "a.seg.nrrd")
        (tmp_path / side / "b.seg.nrrd").unlink()
    chosen = EvaluationSettings(metrics=("dice",), labels="liver=1,spleen=9")
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", chosen)
    assert [(row["label"], row["status"]) for row in found.rows] == [("liver", "ok"), ("spleen", "undefined")]
    assert "no segment is called 'spleen'" in found.cases[0]["notes"]


def test_the_same_names_with_other_values_are_the_same_labels(tmp_path: Path) -> None:
    slicer(tmp_path / "mine" / "a.seg.nrrd", LIVER + 2 * KIDNEY, [("liver", 0, 1), ("kidney", 0, 2)])
    slicer(tmp_path / "theirs" / "a.seg.nrrd", 2 * LIVER + KIDNEY, [("kidney", 0, 1), ("liver", 0, 2)])
    assert scores(tmp_path) == {"kidney": 1.0, "liver": 1.0}
    message, remedy = failure(tmp_path, "liver=1,kidney=2")
    assert "liver=2, kidney=1" in message
    assert "liver=1, kidney=2" in message
    assert "--by-value" in remedy
    assert scores(tmp_path, "liver=1,kidney=2", by_value=True) == {"liver": 0.0, "kidney": 0.0}


def test_a_value_with_another_name_is_a_contradiction_and_a_number_no_name(tmp_path: Path) -> None:
    nifti(tmp_path / "mine" / "a.nii.gz", LIVER)
    slicer(tmp_path / "theirs" / "a.seg.nrrd", LIVER, [("kidney", 0, 1)])
    assert "kidney=1" in failure(tmp_path, "liver=1")[0]
    assert scores(tmp_path, "liver=1", by_value=True) == {"liver": 1.0}
    for name in ("Segment_1", "Label 3", "7"):
        slicer(tmp_path / "theirs" / "a.seg.nrrd", LIVER, [(name, 0, 1)])
        assert scores(tmp_path, "liver=1") == {"liver": 1.0}
        assert scores(tmp_path) == {"foreground": 1.0}


def test_two_segments_of_one_name_are_both_there(tmp_path: Path) -> None:
    file = slicer(tmp_path / "a.seg.nrrd", LIVER + 2 * KIDNEY, [("organ", 0, 1), ("organ", 0, 2)])
    volumes = tv.volume(tv.load(file, "label"))
    expected = {"organ (1)": LIVER.sum() / 1000, "organ (2)": KIDNEY.sum() / 1000}
    assert {name: one.ml for name, one in volumes.items()} == pytest.approx(expected)


def test_layers_load_with_their_names_or_as_asked_for(tmp_path: Path) -> None:
    file = layered(tmp_path / "a.seg.nrrd")
    image = tv.load(file, "label")
    assert {name: one.ml for name, one in tv.volume(image).items()} == pytest.approx(
        {name: mask.sum() / 1000 for name, mask in NAMES.items()}
    )
    # The names follow the channels, through crops too.
    lesion = image[1:2, 2:]
    assert lesion.labels is not None
    assert dict(lesion.labels.names) == {"lesion": (1,)}
    assert tv.volume(lesion).ml == pytest.approx(LESION[2:].sum() / 1000)
    two = tv.load(file, "label", Labels({"kidney": 4, "liver": 3}))
    assert np.array_equal(two.numpy()[0], 3 * LIVER + 4 * KIDNEY)
    with pytest.raises(LabelError, match="overlap"):
        tv.load(file, "label", Labels({"liver": 1, "lesion": 2}))
    regions = Labels({"liver": 1, "lesion": 2, "either": [1, 2]})
    masks = tv.load(file, "label", regions)
    assert np.array_equal(masks.numpy(), [LIVER, LESION, LIVER | LESION])
    assert np.array_equal(regions.encode(masks.numpy()), [LIVER, LESION, LIVER | LESION])


def test_an_error_map_finds_the_label_by_its_name(tmp_path: Path) -> None:
    mine = nifti(tmp_path / "mine.nii.gz", 3 * LESION)
    found = error_map(CaseFiles(mine, layered(tmp_path / "theirs.seg.nrrd")), (3,), "lesion")
    assert set(np.unique(found.codes)) == {0, 1}


# ---- channels without names, and colours ------------------------------------------------------------


def test_channels_without_names_are_masks_or_refused(tmp_path: Path) -> None:
    nifti(tmp_path / "mine" / "a.nii.gz", LIVER + 2 * KIDNEY)
    for masks in ([LIVER, KIDNEY], [255 * LIVER, 255 * KIDNEY], [LIVER, 2 * KIDNEY]):
        nifti(tmp_path / "theirs" / "a.nii.gz", np.stack(masks))
        assert scores(tmp_path, "liver=1,kidney=2") == {"liver": 1.0, "kidney": 1.0}
    for masks in ([LIVER + 2 * KIDNEY, LESION], [2 * LIVER, 1 * KIDNEY], [LIVER, -1 * KIDNEY]):
        nifti(tmp_path / "theirs" / "a.nii.gz", np.stack(masks))
        assert "hannel" in failure(tmp_path, "liver=1,kidney=2")[0]
    # One-hot with its background is not a mask per label.
    nifti(tmp_path / "theirs" / "a.nii.gz", np.stack([~LIVER, LIVER]))
    assert "must be the background" in failure(tmp_path, "liver=1,kidney=2")[0]
    # Another number of channels, or none named: the message says what is there and what was asked for.
    message, remedy = failure(tmp_path, "liver=1,kidney=2,lesion=3")
    assert "2 channels" in message
    assert "liver, kidney, lesion" in message
    assert remedy
    assert "several channels" in failure(tmp_path)[0]
    assert "several channels" in failure(tmp_path, "nonzero")[0]
    with pytest.raises(LabelError, match="no mask"):
        tv.load(
            nifti(tmp_path / "b.nii.gz", np.stack([LIVER + 2 * KIDNEY, LESION])),
            "label",
            Labels({"a": 1, "b": 2}),
        )


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA"])
def test_grey_saved_in_colours_is_grey(tmp_path: Path, kind: str) -> None:
    grey = (LIVER + 2 * KIDNEY)[..., 2].T.astype(np.uint8)
    for side in ("mine", "theirs"):
        (tmp_path / side).mkdir()
    Pillow.fromarray(grey).save(tmp_path / "mine" / "a.png")
    Pillow.fromarray(grey).convert(kind).save(tmp_path / "theirs" / "a.png")
    for labels in ("liver=1,kidney=2", "liver=1,kidney=2,lesion=3", "a=1,b=2,c=3,d=4", "liver=1"):
        found = scores(tmp_path, labels)
        assert set(list(found.values())[:2]) == {1.0}
    assert scores(tmp_path) == {"1": 1.0, "2": 1.0}
    image = tv.load(tmp_path / "theirs" / "a.png", "label", Labels({"liver": 1, "kidney": 2}))
    assert np.array_equal(image.numpy()[0, ..., 0], grey.T)


def test_colours_and_transparency_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((6, 6, 4), np.uint8)
    colours[..., 3] = 255
    colours[1:3, 1:3, 0] = 200
    Pillow.fromarray(colours).save(tmp_path / "a.png")
    with pytest.raises(LabelError, match="holds colours") as caught:
        tv.load(tmp_path / "a.png", "label")
    assert "(200, 0, 0)" in str(caught.value)
    colours[..., 0] = 0
    colours[1:3, 1:3, 3] = 9
    Pillow.fromarray(colours).save(tmp_path / "b.png")
    with pytest.raises(LabelError, match="transparent"):
        tv.load(tmp_path / "b.png", "label")
    rough = np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8)
    Pillow.fromarray(rough).save(tmp_path / "c.jpg")
    with pytest.raises(LabelError, match="JPEG changes values"):
        tv.load(tmp_path / "c.jpg", "label")


def test_a_mask_of_255_is_one_of_1(tmp_path: Path) -> None:
    nifti(tmp_path / "mine" / "a.nii.gz", 255 * LIVER)
    nifti(tmp_path / "theirs" / "a.nii.gz", LIVER)
    assert scores(tmp_path) == {"foreground": 1.0}
    assert scores(tmp_path, "liver=1") == {"liver": 1.0}
    nifti(tmp_path / "theirs" / "a.nii.gz", LIVER + 255 * KIDNEY)
    # There 255 is a label of its own, or what nobody annotated.
    assert set(scores(tmp_path, None)) == {"1", "255"}


def test_a_mask_of_255_is_the_only_segment_of_the_other_file(tmp_path: Path) -> None:
    nifti(tmp_path / "mine" / "a.nii.gz", 255 * LIVER)
    slicer(tmp_path / "theirs" / "a.seg.nrrd", LIVER, [("liver", 0, 1)])
    for labels in (None, "liver=1"):
        found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", EvaluationSettings(labels=labels))
        assert {row["label"]: row["value"] for row in found.rows if row["metric"] == "dice"} == {"liver": 1.0}
        assert "the label table lacks" not in found.cases[0]["notes"]


def test_values_that_the_other_file_does_not_name_are_noted(tmp_path: Path) -> None:
    nifti(tmp_path / "mine" / "a.nii.gz", LIVER)
    slicer(tmp_path / "theirs" / "a.seg.nrrd", 3 * LIVER, [("liver", 0, 3)])
    found = evaluate_folders(tmp_path / "mine", tmp_path / "theirs", EvaluationSettings())
    note = "prediction: values that the other file does not name, which has liver=3: 1"
    assert found.cases[0]["notes"] == note


def test_ignored_voxels_count_in_no_channel(tmp_path: Path) -> None:
    unknown = np.zeros(SHAPE, bool)
    unknown[0] = True
    nifti(tmp_path / "mine" / "a.nii.gz", np.stack([LIVER | unknown, KIDNEY]))
    nifti(tmp_path / "theirs" / "a.nii.gz", np.stack([LIVER + 7 * unknown, KIDNEY + 7 * unknown]))
    assert scores(tmp_path, "liver=1,kidney=2,ignore=7") == {"liver": 1.0, "kidney": 1.0}


# ---- values ---------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.sampled_from(VALUES), min_size=2, max_size=4, unique=True), seed=st.integers(0, 99))
def test_values_of_any_size_and_sign_are_kept_apart(tmp_path: Path, values: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = rng.choice([0, *values], (2, 1, *SHAPE))
    for side, array in (("mine", one), ("theirs", two)):
        io.save(Image(torch.from_numpy(array.astype(np.int32)), GRID, "label"), tmp_path / side / "a.nii.gz")
    found = scores(tmp_path, {f"v{k}": value for k, value in enumerate(values)})
    for k, value in enumerate(values):
        both = np.count_nonzero((one == value) & (two == value))
        assert found[f"v{k}"] == pytest.approx(2 * both / (np.sum(one == value) + np.sum(two == value)))


def test_minus_one_is_not_one(tmp_path: Path) -> None:
    nifti(tmp_path / "mine" / "a.nii.gz", -1 * LIVER)
    nifti(tmp_path / "theirs" / "a.nii.gz", LIVER)
    assert scores(tmp_path) == {"-1": 0.0, "1": 0.0}


# ---- tables of files, of folders and of the caller ----------------------------------------------------


def test_tables_of_both_folders_must_agree(tmp_path: Path) -> None:
    def choice(mine: str, theirs: str) -> Labels | None:
        for side, text in (("mine", mine), ("theirs", theirs)):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / "dataset.json").write_text(f'{{"labels": {text}}}')
        return beside(tmp_path / "mine", tmp_path / "theirs").labels

    one = choice('{"background": 0, "liver": 1, "kidney": 2}', '{"liver": 1}')
    assert one is not None
    assert dict(one.names) == {"liver": 1, "kidney": 2}
    for other in ('{"liver": 2, "kidney": 1}', '{"spleen": 1}', '{"liver": [1, 2]}'):
        with pytest.raises(SettingsError, match="contradict each other") as caught:
            choice('{"liver": 1, "kidney": 2}', other)
        assert str(tmp_path / "mine" / "dataset.json") in str(caught.value)
        assert str(tmp_path / "theirs" / "dataset.json") in str(caught.value)


def test_a_volume_asked_for_by_name_is_that_of_the_name(tmp_path: Path) -> None:
    image = tv.load(layered(tmp_path / "a.seg.nrrd"), "label")
    assert tv.volume(image, labels=Labels({"lesion": 3})).ml == pytest.approx(LESION.sum() / 1000)
    one = tv.load(slicer(tmp_path / "b.seg.nrrd", LIVER, [("kidney", 0, 1)]), "label")
    with pytest.raises(LabelError, match="contradict each other") as caught:
        tv.volume(one, labels=Labels({"kidney": 2}))
    assert "kidney=1" in str(caught.value)
    assert "kidney=2" in str(caught.value)
    with pytest.raises(LabelError, match="contradict each other"):
        tv.load(tmp_path / "b.seg.nrrd", "label", Labels({"liver": 1}))
    renamed = tv.load(tmp_path / "b.seg.nrrd", "label", Labels({"liver": 1}), by_value=True)
    assert tv.volume(renamed).label == "liver"


def test_training_takes_the_names_of_the_recipe_or_of_the_column(tmp_path: Path) -> None:
    case = Case("p", {"mask": layered(tmp_path / "a.seg.nrrd")})
    [lazy] = tv.Input("mask", "label", labels={"kidney": 4, "liver": 3}).call.op.read(case)
    assert np.array_equal(np.unique(lazy.image().numpy()), [0, 3, 4])
    assert np.count_nonzero(lazy.image().numpy() == 3) == LIVER.sum()
    # A table made of the column's name claims nothing of what a file calls its value.
    plain = Case("p", {"mask": slicer(tmp_path / "b.seg.nrrd", LIVER, [("liver", 0, 1)])})
    [lazy] = tv.Input("mask", "label", labels={"mask": 1}).call.op.read(plain)
    assert np.count_nonzero(lazy.image().numpy()) == LIVER.sum()
    [lazy] = tv.Input("mask", "label", labels={"kidney": 1}).call.op.read(plain)
    with pytest.raises(LabelError, match="contradict"):
        lazy.image()


def test_images_in_memory_keep_the_names_of_their_file(tmp_path: Path) -> None:
    file = slicer(tmp_path / "a.seg.nrrd", 2 * LIVER + KIDNEY, [("liver", 0, 2), ("kidney", 0, 1)])
    image = tv.load(file, "label")
    wrong = tv.Input("mask", "label", labels={"liver": 1})
    [lazy] = wrong.call.op.read(as_case({"mask": image}))
    with pytest.raises(LabelError, match="contradict"):
        lazy.image()
    right = tv.Input("mask", "label", labels={"lesion": 3, "liver": 1})
    [lazy] = right.call.op.read(as_case({"mask": tv.load(layered(tmp_path / "b.seg.nrrd"), "label")[:1]}))
    with pytest.raises(LabelError, match="declare"):  # the kidney's value
        lazy.image()


def test_remedies_fit_what_is_wrong(tmp_path: Path) -> None:
    image = Image(torch.full((1, 2, 2, 2), torch.nan), Grid((2, 2, 2)))
    io.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(LabelError) as error:
        tv.load(tmp_path / "a.nii.gz", "label")
    assert "not finite" in str(error.value.remedy)
    with pytest.raises(LabelError) as error:
        choose_labels("a=1;b=2")
    assert "a=1,b=2" in str(error.value.remedy)


def test_channels_without_names_are_not_guessed_where_order_and_values_disagree(tmp_path: Path) -> None:
    nifti(tmp_path / "mine" / "a.nii.gz", np.stack([LIVER, KIDNEY]))
    nifti(tmp_path / "theirs" / "a.nii.gz", LIVER + 2 * KIDNEY)
    assert scores(tmp_path, "liver=1,kidney=2") == {"liver": 1.0, "kidney": 1.0}
    found = evaluate_folders(
        tmp_path / "mine", tmp_path / "theirs", EvaluationSettings(labels="kidney=2,liver=1")
    )
    assert "order of the labels is not that of their values" in found.failures[0].message
    assert found.failures[0].remedy.endswith("liver=1,kidney=2")
