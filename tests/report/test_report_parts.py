"""What goes into a report: error maps, pictures, the choice of cases, lesions, volumes, text."""

from __future__ import annotations

import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report.folders import AFFINE, ball, save, table, write_tables

from truevox.errors import FileError, GeometryError, LabelError
from truevox.report.bland_altman import agreements
from truevox.report.comparison import read_comparison
from truevox.report.data import safe_json
from truevox.report.error_maps import FN, FP, TP, ErrorMap, error_map, label_values
from truevox.report.folder import CaseFiles, read_folder, read_folders
from truevox.report.headline import headline
from truevox.report.lesions import LARGEST, detections, lesion_rows
from truevox.report.pictures import png
from truevox.report.provenance import provenance
from truevox.report.volumes import viewer_volumes
from truevox.report.worst import flags, picks
from truevox.space import Grid

SHAPE = (40, 36, 30)


def masks(folder: Path, found: np.ndarray, truth: np.ndarray) -> CaseFiles:
    prediction = save(folder / "prediction.nii.gz", found.astype(np.uint8))
    return CaseFiles(prediction, save(folder / "reference.nii.gz", truth.astype(np.uint8)))


def scores(rows: list[tuple[str, str, float, str]]) -> list[list[object]]:
    """Rows of metrics.csv from (case, metric, value, status)."""
    return [[c, "tumour", m, v, "1", s, f"{m}/voxel", "tumour"] for c, m, v, s in rows]


def test_an_error_map_counts_like_the_masks_and_opens_at_the_largest_error(tmp_path: Path) -> None:
    truth, extra = ball(SHAPE, (20, 18, 15), 8), ball(SHAPE, (6, 6, 6), 4)
    found = error_map(masks(tmp_path, truth | extra, truth), ())
    assert [int((found.codes == code).sum()) for code in (TP, FP, FN)] == [truth.sum(), extra.sum(), 0]
    # The deepest voxel of a ball is its centre; world coordinates are those of the file.
    assert np.allclose(found.grid.to_world(found.focus), np.array([6, 6, 6]) * np.diag(AFFINE)[:3])
    assert found.missed is None


def test_the_largest_error_of_a_plate_is_marked_in_its_middle(tmp_path: Path) -> None:
    # One slice thick: every voxel is as deep as every other.
    truth, plate = ball(SHAPE, (20, 18, 15), 5), np.zeros(SHAPE, bool)
    plate[5:16, 3:12, 2] = True
    found = error_map(masks(tmp_path, truth | plate, truth), ())
    assert np.allclose(found.grid.to_world(found.focus), np.array([10, 7, 2]) * np.diag(AFFINE)[:3])


def test_the_missed_piece_is_the_largest_that_nothing_touches(tmp_path: Path) -> None:
    seen, small, large = (
        ball(SHAPE, (10, 10, 10), 5),
        ball(SHAPE, (30, 8, 8), 2),
        ball(SHAPE, (30, 28, 22), 3),
    )
    found = error_map(masks(tmp_path, seen, seen | small | large), ())
    assert found.missed is not None
    assert np.allclose(found.grid.to_world(found.missed), np.array([30, 28, 22]) * np.diag(AFFINE)[:3])


@pytest.mark.parametrize("codes", ["LPS", "ASR", "ILA"])
def test_an_error_map_is_the_same_however_the_file_is_stored(tmp_path: Path, codes: str) -> None:
    truth, wrong = ball(SHAPE, (20, 18, 15), 8), ball(SHAPE, (23, 18, 12), 8)
    expected = error_map(masks(tmp_path / "RAS", wrong, truth), ())
    turn: Any = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(tuple(codes))
    )
    paths = []
    for name, mask in (("prediction", wrong), ("reference", truth)):
        image = nibabel.Nifti1Image(mask.astype(np.uint8), AFFINE).as_reoriented(turn)
        paths.append(tmp_path / f"{name}_{codes}.nii.gz")
        nibabel.save(image, paths[-1])
    found = error_map(CaseFiles(*paths), ())
    assert np.array_equal(found.codes, expected.codes)
    assert found.grid.same_as(expected.grid)


def test_a_prediction_on_another_grid_is_put_or_read_on_the_references(tmp_path: Path) -> None:
    truth = ball(SHAPE, (20, 18, 15), 8)
    files = masks(tmp_path, truth, truth)
    moved = AFFINE.copy()
    moved[:3, 3] = AFFINE[:3, :3] @ [4, 0, 0]
    save(tmp_path / "prediction.nii.gz", truth[4:].astype(np.uint8), moved)
    found = error_map(files, ())
    assert set(np.unique(found.codes)) == {0, TP}
    assert found.notes == ()  # a part of the same lattice, put in place
    moved[:3, 3] += AFFINE[:3, :3] @ [0.3, 0, 0]
    save(tmp_path / "prediction.nii.gz", truth[4:].astype(np.uint8), moved)
    found = error_map(files, ())
    assert set(np.unique(found.codes)) == {0, TP}
    assert found.notes == ("prediction read on the reference's grid",)


def test_a_case_without_prediction_is_all_false_negative(tmp_path: Path) -> None:
    truth = ball(SHAPE, (20, 18, 15), 8)
    files = masks(tmp_path, truth, truth)
    columns = ("case", "prediction", "reference", "image", "output", "patient", "notes")
    rows = [
        ["p", "", files.reference, "", "x", "p", "no prediction; scored as empty"],
        ["q", "", "", "", "x", "q", ""],
    ]
    write_tables(tmp_path, scores([("p", "dice", 0.0, "missed")]))
    table(tmp_path / "cases.csv", columns, rows)
    folder = read_folder("m", tmp_path)
    read = folder.files("p", "x")
    assert read is not None
    found = error_map(read, ())
    assert int((found.codes == FN).sum()) == truth.sum() == np.count_nonzero(found.codes)
    assert found.notes == ("no prediction", "scored as empty")
    assert folder.files("p", "another output") is None
    assert folder.files("q", "x") is None


def test_masks_at_the_border_and_empty_masks_are_said(tmp_path: Path) -> None:
    truth = ball(SHAPE, (0, 18, 15), 6)
    assert "touches the border of the scan" in error_map(masks(tmp_path, truth, truth), ()).notes
    with pytest.raises(GeometryError, match="Both masks are empty"):
        error_map(masks(tmp_path, 0 * truth, 0 * truth), ())


def test_a_prediction_in_pieces_is_said(tmp_path: Path) -> None:
    truth, crumbs = ball(SHAPE, (30, 18, 15), 6), np.zeros(SHAPE, bool)
    crumbs[3, 3:27:4, 3] = True
    assert error_map(masks(tmp_path, truth | crumbs, truth), ()).notes == ("in 7 pieces, the reference in 1",)
    crumbs[3, 3, 3] = False
    assert error_map(masks(tmp_path, truth | crumbs, truth), ()).notes == ()


def test_a_scan_that_is_missing_costs_the_background_only(tmp_path: Path) -> None:
    truth = ball(SHAPE, (20, 18, 15), 6)
    files = masks(tmp_path, truth, truth)
    found = error_map(CaseFiles(files.prediction, files.reference, tmp_path / "none.nii.gz"), ())
    assert found.image is None
    assert found.notes[0].startswith("the image can't be shown")


def test_what_a_label_means_is_looked_up_or_asked_for(tmp_path: Path) -> None:
    rows = [["p", name, "dice", 0.5, "1", "ok", "dice/voxel", "organs"] for name in ("liver", "7")]
    write_tables(tmp_path, rows, run={"labels": {"liver": [3, 4]}})
    folder, prediction = read_folder("a", tmp_path), tmp_path / "preds" / "p" / "organs.nii.gz"
    assert label_values(folder, "organs", "liver", prediction) == (3, 4)
    assert label_values(folder, "organs", "7", prediction) == (7,)
    with pytest.raises(LabelError, match=r"No table says which voxel value 'spleen' is\.(.|\n)*labels\.json"):
        label_values(folder, "organs", "spleen", prediction)
    prediction.parent.mkdir(parents=True)
    (tmp_path / "preds" / "labels.json").write_text(json.dumps({"organs": {"names": {"spleen": 5}}}))
    assert label_values(folder, "organs", "spleen", prediction) == (5,)


def picture(codes: np.ndarray, focus: tuple[int, int, int]) -> np.ndarray:
    found = ErrorMap(codes, Grid(codes.shape), None, focus, None, ())
    return np.array(Image.open(io.BytesIO(png(found))).convert("RGB")).astype(int)


def test_a_picture_has_the_patients_left_at_its_right() -> None:
    codes = np.zeros((32, 32, 32), np.uint8)
    codes[24:28, 14:18, 14:18] = FP  # to the patient's right, as the axes run to R, A, S
    pixels = picture(codes, (26, 16, 16))
    orange = (np.abs(pixels - [230, 159, 0]).sum(2) < 120).nonzero()
    axial = orange[1][orange[1] < 224]
    assert axial.size > 100
    assert axial.max() < 112
    codes = np.zeros((32, 32, 32), np.uint8)
    codes[14:18, 24:28, 26:30] = FN  # in front and above
    rows, columns = (np.abs(picture(codes, (16, 26, 28)) - [0, 114, 178]).sum(2) < 120).nonzero()
    assert rows[columns < 224].max() < 112  # axial: anterior is up
    assert rows[columns >= 228].max() < 112  # coronal, sagittal: superior is up
    assert columns[columns >= 456].max() < 456 + 112  # sagittal: anterior is left


def test_a_flat_picture_has_one_plane() -> None:
    codes = np.zeros((32, 24, 1), np.uint8)
    codes[4:8, 4:8] = FP
    assert picture(codes, (5, 5, 0)).shape == (224, 224, 3)


def test_volumes_of_the_viewer_read_back_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = ball(SHAPE, (20, 18, 15), 8)
    found = error_map(masks(tmp_path, ball(SHAPE, (24, 18, 15), 8), truth), ())
    small = viewer_volumes(found)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(small.codes))
    assert np.array_equal(np.asarray(image.dataobj), found.codes)
    assert np.allclose(np.asarray(image.affine), found.grid.affine)
    assert (small.image, small.focus) == (b"", found.focus)
    monkeypatch.setattr("truevox.report.volumes.LARGEST", found.codes.size // 8)
    thin = nibabel.Nifti1Image.from_bytes(gzip.decompress(viewer_volumes(found).codes))
    assert np.array_equal(np.asarray(thin.dataobj), found.codes[::2, ::2, ::2])
    assert np.allclose(thin.header.get_zooms(), 2 * found.grid.spacing)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 1.0, 1.0], [("a", "perfect Dice, as in all cases"), ("b", "perfect Dice, as in all cases")]),
        ([1.0], [("a", "perfect Dice")]),
        ([0.7], [("a", "the only case with Dice")]),
        ([0.0, 0.0], [("a", "Dice the same in all cases"), ("b", "Dice the same in all cases")]),
        # Two are perfect: neither is the second worst, and one of them is the median.
        ([0.5, 1.0, 1.0], [("a", "worst Dice"), ("b", "median Dice")]),
        ([math.nan, math.nan], []),
    ],
)
def test_what_is_perfect_is_not_called_worst(
    tmp_path: Path, values: list[float], expected: list[tuple[str, str]]
) -> None:
    rows = [(case, "dice", value, "ok") for case, value in zip("abc", values, strict=False)]
    write_tables(tmp_path, scores(rows))
    found = picks([read_folder("m", tmp_path)], worst=2)
    assert [(pick.case, *pick.reasons) for pick in found] == expected


def test_the_worst_come_first_whatever_the_direction(tmp_path: Path) -> None:
    dice = [("a", "dice", 0.9, "ok"), ("b", "dice", 0.2, "ok"), ("c", "dice", 0.5, "ok")]
    rest = [("d", "dice", 0.0, "missed"), ("e", "dice", math.nan, "undefined"), ("a", "hd95", 50.0, "ok")]
    more = [("b", "hd95", 30.0, "ok"), ("f", "dice", math.nan, "failed")]
    write_tables(tmp_path, scores(dice + rest + more))
    found = picks([read_folder("m", tmp_path)], worst=2)
    assert [(one.case, one.reasons) for one in found] == [
        ("a", ("worst HD95",)),
        ("d", ("worst Dice",)),
        ("b", ("second worst Dice",)),  # and the best HD95
        ("c", ("median Dice",)),
    ]


def test_flags_say_what_is_odd(tmp_path: Path) -> None:
    cases = [f"p{k:02d}" for k in range(20)]
    rows = [(c, "dice", 0.9 - 0.01 * k, "ok") for k, c in enumerate(cases)]
    rows += [(c, "hd95", 1.0 + k, "ok") for k, c in enumerate(cases)]
    rows += [(c, "volume_difference_ml", 80.0 if k == 0 else 0.1 * k, "ok") for k, c in enumerate(cases)]
    rows += [("p03", "jaccard", 0.0, "missed"), ("p04", "jaccard", 0.0, "spurious")]
    write_tables(tmp_path, scores(rows))
    assert {case: words for (case, _, _), words in flags(read_folder("m", tmp_path)).items()} == {
        "p00": ["volume outlier"],
        "p03": ["prediction empty"],
        "p04": ["reference empty"],
        "p18": ["poor in 2 metrics"],
        "p19": ["poor in 3 metrics"],
    }


def test_lesions_are_counted_by_size(tmp_path: Path) -> None:
    columns = ("case", "output", "label", "rule", "kind", "reference_ml", "prediction_ml", "iou")
    kinds = [("matched", 0.05, 0.04, 0.7), ("missed", 0.09, "", ""), ("matched", 0.1, 0.1, 0.6)]
    kinds += [("missed", 2.0, "", ""), ("missed", 40.0, "", ""), ("spurious", "", 5.0, "")]
    write_tables(tmp_path, scores([("p", "dice", 0.5, "ok")]))
    table(tmp_path / "lesions.csv", columns, [["p", "tumour", "tumour", "any", *one] for one in kinds])
    folder = read_folder("m", tmp_path)
    [one] = detections([folder])
    assert (one.matched, one.missed, one.spurious) == (2, 3, 1)
    assert (one.sensitivity, one.precision, one.f1) == (2 / 5, 2 / 3, 4 / 8)
    assert one.sizes == (
        ("< 0.1 ml", 1, 2),
        ("0.1 to 0.3 ml", 1, 1),
        ("1 to 3 ml", 0, 1),
        ("≥ 10 ml", 0, 1),
    )
    rows, left_out = lesion_rows([folder])
    assert [row[5] or row[6] for row in rows] == [40.0, 5.0, 2.0, 0.09, 0.1, 0.05]
    assert left_out == 0


def test_a_page_lists_the_lesions_to_look_at_and_says_how_many_it_leaves_out(tmp_path: Path) -> None:
    columns = ("case", "output", "label", "rule", "kind", "reference_ml", "prediction_ml", "iou")
    rows = [["p", "t", "t", "any", "matched", 1.0, 1.0, 0.9]] * LARGEST
    rows += [["p", "t", "t", "any", "missed", 3.0, "", ""]] * 7
    write_tables(tmp_path, scores([("p", "dice", 0.5, "ok")]))
    table(tmp_path / "lesions.csv", columns, rows)
    listed, left_out = lesion_rows([read_folder("m", tmp_path)])
    assert ([row[4] for row in listed[:8]], left_out) == (["missed"] * 7 + ["matched"], 7)


@pytest.mark.parametrize("source", ["relative_volume_difference", "volumetric_similarity", "file"])
def test_volumes_come_from_the_tables_or_from_the_files(tmp_path: Path, source: str) -> None:
    rows: list[list[object]] = []
    pairs = {"a": (10.0, 11.0), "b": (20.0, 22.0), "c": (5.0, 6.0), "d": (15.0, 15.5), "e": (30.0, 28.0)}
    for case, (found, truth) in pairs.items():
        values = {"volume_difference_ml": found - truth}
        if source == "relative_volume_difference":
            values[source] = (found - truth) / truth
        elif source == "volumetric_similarity":
            values[source] = 1 - abs(found - truth) / (found + truth)
        rows += scores([(case, name, value, "ok") for name, value in values.items()])
        mask = np.zeros((40, 40, 40), np.uint8)
        mask.flat[: round(1000 * truth)] = 1
        save(tmp_path / f"{case}.nii.gz", mask, np.eye(4))
    write_tables(tmp_path, rows)
    files = [[case, tmp_path / "none", tmp_path / f"{case}.nii.gz", ""] for case in pairs]
    if source == "file":
        table(tmp_path / "cases.csv", ("case", "prediction", "reference", "image"), files)
    [one] = agreements([read_folder("m", tmp_path)])
    expected = [sum(pair) / 2 for pair in pairs.values()]
    assert one.mean_ml == pytest.approx(np.array(expected), abs=1e-6)
    assert (one.cases, one.left_out) == (list(pairs), 0)


def test_volumes_that_nobody_knows_are_counted(tmp_path: Path) -> None:
    rows = [("a", "volume_difference_ml", 0.0, "ok"), ("b", "volume_difference_ml", 1.0, "ok")]
    write_tables(tmp_path, scores([*rows, ("b", "relative_volume_difference", 0.1, "ok")]))
    [one] = agreements([read_folder("m", tmp_path)])
    assert (one.cases, one.left_out) == (["b"], 1)


def test_the_best_mean_is_marked_by_direction(tmp_path: Path) -> None:
    for name, dice, hd in (("x", 0.8, 5.0), ("y", 0.9, 7.0)):
        rows = [("p", "dice", dice, "ok"), ("q", "dice", dice, "ok")]
        write_tables(tmp_path / name, scores([*rows, ("p", "hd95", hd, "ok"), ("q", "hd95", hd, "missed")]))
    [block] = headline(read_folders({name: tmp_path / name for name in "xy"}))
    best = [[cell.best for cell in cells if cell] for _, cells in block.rows]
    assert best == [[False, True], [True, False]]
    assert [cell.counts for cell in block.rows[0][1] if cell] == [(), ("1 missed",)]


def test_structures_are_named_as_shortly_as_they_can_be(tmp_path: Path) -> None:
    for name, outputs in (("one", ["zones"]), ("two", ["zones", "tumour"])):
        rows = [
            ["p", label, "dice", 0.5, "1", "ok", "dice/voxel", out] for out in outputs for label in ("a", "7")
        ]
        write_tables(tmp_path / name, rows)
        [folder] = read_folders({"m": tmp_path / name})
        names = [folder.structure("zones", label) for label in ("a", "7")]
        assert names == (["a", "label 7"] if name == "one" else ["zones: a", "zones: label 7"])


def test_provenance_is_told_whatever_the_record_holds(tmp_path: Path) -> None:
    settings = {"evaluation": {"metrics": ["dice", "hd95"], "lesions": None}}
    run = {"settings": settings, "inputs": [1], "machine": 3}
    write_tables(tmp_path, scores([("p", "dice", 0.5, "ok")]), run=run)
    found = dict(provenance(read_folder("m", tmp_path)))
    assert found["Command"] == "truevox evaluate predictions references --out eval"
    assert found["Took"] == "1 min 16 s"
    assert found["evaluation: metrics"] == "dice, hd95"
    assert "Machine" not in found
    assert "evaluation: lesions" not in found


def test_tables_that_are_missing_or_damaged_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"metrics\.csv is missing(.|\n)*truevox evaluate"):
        read_folder("m", tmp_path)
    write_tables(tmp_path, scores([("p", "dice", 0.5, "ok")]))
    text = (tmp_path / "metrics.csv").read_text()
    (tmp_path / "metrics.csv").write_text(text.replace("0.5", "half"))
    with pytest.raises(FileError, match=r"no number(.|\n)*p\n(.|\n)*half"):
        read_folder("m", tmp_path)
    (tmp_path / "metrics.csv").write_text(text.replace("status", "state"))
    with pytest.raises(FileError, match="lacks the column status"):
        read_folder("m", tmp_path)
    (tmp_path / "metrics.csv").write_text(text)
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(FileError, match="no JSON object"):
        read_folder("m", tmp_path)
    (tmp_path / "summary.json").unlink()
    with pytest.raises(FileError, match="no summary"):
        read_folder("m", tmp_path)
    with pytest.raises(FileError, match=r"holds no comparison(.|\n)*truevox compare"):
        read_comparison(tmp_path)


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner)))
def test_json_in_a_page_reads_back_and_holds_no_markup(value: object) -> None:
    text = safe_json(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_tables_of_a_comparison_hold_what_says_something(tmp_path: Path) -> None:
    head = "label,metric,definition,unit,first,second,n,mean,bias,icc,dropped\n"
    rows = (
        "liver,dice,dice/voxel,1,a,,9,0.81234,,,0\nliver,volume_ml,volume/threshold,ml,a,b,9,,-1.23456,,0\n"
    )
    (tmp_path / "agreement.csv").write_text(head + rows)
    (tmp_path / "ranking.csv").write_text("label,metric,method,rank,software\nliver,dice,a,1,truevox\n")
    ranking, agreement = read_comparison(tmp_path).tables
    assert (ranking.columns, ranking.rows) == (
        ["label", "metric", "method", "rank"],
        [["liver", "dice", "a", "1"]],
    )
    assert agreement.columns == ["label", "metric", "unit", "first", "second", "n", "bias"]
    assert agreement.rows == [["liver", "volume_ml", "ml", "a", "b", "9", "-1.235"]]


def test_a_comparison_says_first_what_stands_in(tmp_path: Path) -> None:
    (tmp_path / "ranking.csv").write_text("label,metric,method,ci_low\nliver,dice,a,nan\nliver,dice,b,0.25\n")
    (tmp_path / "comparison.json").write_text(json.dumps({"warnings": ["'a' gets the worst value"]}))
    found = read_comparison(tmp_path)
    assert found.warnings == ["'a' gets the worst value"]
    assert [row[-1] for row in found.tables[0].rows] == ["–", "0.25"]


def test_an_infinite_value_is_missed_and_has_no_agreement(tmp_path: Path) -> None:
    """MONAI's distance to an empty mask, and a volume that is none."""
    rows = scores([("p", "hd95", math.inf, "ok"), ("p", "volume_difference_ml", math.inf, "ok")])
    write_tables(tmp_path, rows)
    folder = read_folder("m", tmp_path)
    assert [one.status for one in folder.scores] == ["missed", "missed"]
    assert agreements([folder]) == []


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (",ok,", ",,", "status in the table is not known(.|\n)*nothing"),
        (",dice/voxel", "", "Row 2 has another number"),
    ],
)
def test_a_damaged_table_is_no_report(tmp_path: Path, old: str, new: str, text: str) -> None:
    write_tables(tmp_path, scores([("p", "dice", 0.5, "ok")]))
    file = tmp_path / "metrics.csv"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(FileError, match=text):
        read_folder("m", tmp_path)
