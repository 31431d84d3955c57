"""Label tables: classes made of classes, tables in files, voxels that nobody annotated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from truevox.errors import FileError, LabelError
from truevox.labels import IGNORE_INDEX, Labels
from truevox.losses import CrossEntropy, SoftDice

TUMOUR = {"necrosis": 1, "edema": 2, "core": ["necrosis", 4], "whole": ["core", "edema"]}


def test_regions_are_made_of_regions() -> None:
    labels = Labels(TUMOUR)
    assert labels.names == {"necrosis": 1, "edema": 2, "core": (1, 4), "whole": (1, 4, 2)}
    assert (labels.activation, labels.channels, labels.values) == ("sigmoid", 4, (1, 2, 4))
    voxels = np.array([0, 1, 2, 4]).reshape(1, 4, 1, 1)
    assert labels.encode(voxels)[:, :, 0, 0].tolist() == [
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 1, 0, 1],
        [0, 1, 1, 1],
    ]
    assert Labels.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels


def test_the_order_of_the_table_does_not_matter() -> None:
    turned = Labels(dict(reversed(TUMOUR.items())))
    assert {n: set(turned.values_of(n)) for n in TUMOUR} == {
        "necrosis": {1},
        "edema": {2},
        "core": {1, 4},
        "whole": {1, 2, 4},
    }


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"a": ["b"], "b": ["a"]}, "made of itself"),
        ({"a": ["a", 1]}, "made of itself"),
        ({"a": ["b", 1]}, "'b', which the table lacks"),
        ({"a": [0, 1]}, "background"),
        ({"a": 1, "b": "a"}, "'b' has no value"),
        ({"a": None}, "'a' has no value"),
    ],
)
def test_circles_and_unknown_parts_are_refused(names: dict, text: str) -> None:
    with pytest.raises(LabelError, match=text):
        Labels(names)


def test_a_circle_is_shown() -> None:
    with pytest.raises(LabelError) as caught:
        Labels({"a": ["b"], "b": ["c"], "c": ["a"]})
    assert caught.value.got == "a in c in b in a"


@pytest.mark.parametrize("loss", [CrossEntropy(activation="sigmoid"), SoftDice(activation="sigmoid")])
def test_regions_give_no_loss_where_nobody_annotated(loss: CrossEntropy | SoftDice) -> None:
    labels = Labels({"whole": [1, 2], "core": 2}, ignore=9)
    known = np.array([0, 1, 2, 0]).reshape(1, 4, 1, 1)
    partly = np.array([0, 1, 2, 9]).reshape(1, 4, 1, 1)
    codes = labels.encode(partly)
    assert codes[:, 3].tolist() == [[[IGNORE_INDEX]]] * 2
    assert labels.one_hot(partly).tolist() == labels.one_hot(known).tolist()
    target = torch.from_numpy(codes)[None]
    logits = torch.randn(1, 2, 4, 1, 1)
    other = logits.clone()
    other[:, :, 3] += 5
    torch.testing.assert_close(loss(logits, target), loss(other, target))
    full = torch.from_numpy(labels.encode(known))[None]
    assert float(loss(logits, full)) != float(loss(other, full))


SNAP = """
# ITK-SNAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    3   255    0    0        1  1  1    "left ventricle"
    7     0  255    0      0.5  1  0    "myocardium"
"""
TABLES = {
    "t.yaml": yaml.safe_dump({"background": 0, "left ventricle": 3, "myocardium": 7}),
    "t.json": json.dumps({"names": {"left ventricle": 3, "myocardium": 7}, "swap": [], "ignore": None}),
    "t.csv": "index,name,colour\n0,nothing,black\n3,left ventricle,red\n7,myocardium,green\n",
    "semicolons.csv": "index;name\n0;nothing\n3;left ventricle\n7;myocardium\n",
    "t.tsv": "name\tvalue\nleft ventricle\t3\nmyocardium\t7\n",
    "t.txt": SNAP,
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_in_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLES[name])
    assert Labels.from_file(tmp_path / name) == Labels({"left ventricle": 3, "myocardium": 7})


def test_regions_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text(yaml.safe_dump({"names": TUMOUR, "ignore": 9}))
    assert Labels.from_file(tmp_path / "t.yml") == Labels(TUMOUR, ignore=9)


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("t.csv", "a,b\n1,2\n", LabelError, "columns 'name' and 'index'"),
        ("t.csv", "", LabelError, "columns 'name' and 'index'"),
        ("t.csv", "index,name\nx,liver\n", LabelError, "no whole number"),
        ("t.tsv", "index\tname\n1\tliver\n2\tliver\n", LabelError, "there twice"),
        ("t.yaml", "- 1\n- 2\n", LabelError, "mapping"),
        ("t.yaml", "{a: 1", LabelError, "no YAML"),
        ("t.txt", "1 liver\n", LabelError, "ITK-SNAP"),
        ("t.doc", "", FileError, "suffix"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, text: str, error: type, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message) as caught:
        Labels.from_file(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="can't be read"):
        Labels.from_file(tmp_path / "none.yaml")


def test_class_values_are_whole_numbers_of_any_kind() -> None:
    table = Labels({"a": 1.0, "b": np.uint8(2), "ab": [1.0, np.int64(2)]}, ignore=255.0)  # type: ignore[arg-type]
    assert (dict(table.names), table.ignore) == ({"a": 1, "b": 2, "ab": (1, 2)}, 255)
    assert all(type(v) is int for n in table.names for v in table.values_of(n))
    for odd in (1.5, True, float("nan"), "1"):
        with pytest.raises(LabelError, match="'a' has no value"):
            Labels({"a": odd})  # type: ignore[dict-item]
        with pytest.raises(LabelError, match=r"whole number|lacks"):
            Labels({"a": [odd]})  # type: ignore[list-item]
    with pytest.raises(LabelError, match="one name"):
        Labels({1: 1, "1": 2})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("labels.json", '{"seg": {"names": {"a": 1, "b": [1, 2]}, "swap": [], "ignore": 9}}', 9),
        ("dataset.json", '{"labels": {"background": 0, "a": 1, "b": [1, 2], "ignore": 9}, "x": ""}', 9),
        ("t.json", '{"names": {"background": 0, "a": 1.0, "b": [1, 2.0]}, "ignore": null}', None),
        ("t.yaml", "a: 1.0\nb: [1, '2']\n", None),
    ],
)  # fmt: skip
def test_tables_of_every_writer_are_read(tmp_path: Path, name: str, text: str, expected: int | None) -> None:
    (tmp_path / name).write_text(text)
    table = Labels.from_file(tmp_path / name)
    assert (dict(table.names), table.ignore) == ({"a": 1, "b": (1, 2)}, expected)


def test_values_may_stand_first_and_as_text(tmp_path: Path) -> None:
    for text in ('{"0": "background", "1": "a", "2": "b"}', '{"a": "1", "b": "2.0"}'):
        (tmp_path / "t.json").write_text(text)
        assert dict(Labels.from_file(tmp_path / "t.json").names) == {"a": 1, "b": 2}
    (tmp_path / "t.csv").write_text("name,value\nbackground,0.0\na,1.0\n")
    assert dict(Labels.from_file(tmp_path / "t.csv").names) == {"a": 1}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.json", '{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
        ("t.yaml", "a: 1\na: 2\n", "'a' is there twice"),
        ("t.json", '{"1": "a", "2": "a"}', "'a' is there twice"),
        ("t.csv", "name,index\na,1\nb,1\n", "Value 1 has two names"),
        ("t.json", '{"one": {"names": {"a": 1}}, "two": {"names": {"b": 1}}}', "several outputs"),
    ],
)
def test_tables_that_say_two_things_are_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError, match=said) as caught:
        Labels.from_file(tmp_path / name)
    assert name in str(caught.value)


def test_layers_survive_and_are_exclusive_only_in_one() -> None:
    table = Labels({"a": 1, "b": 2, "c": 1}, layers={"a": 0, "b": 0, "c": 1})
    assert Labels.from_dict(table.to_dict()) == table
    assert hash(Labels.from_dict(table.to_dict())) == hash(table)
    assert not table.exclusive
    assert (table.channels, table.activation) == (3, "sigmoid")
    array = np.array([[[[0, 1, 2]]], [[[1, 1, 0]]]])
    assert table.encode(array)[:, 0, 0].tolist() == [[0, 1, 0], [0, 0, 1], [1, 1, 0]]
    with pytest.raises(LabelError, match="channel 1"):
        table.check(array * [[[[1]]], [[[2]]]])
    for layers in ({"a": 0}, {"a": 0, "b": 0, "c": -1}):
        with pytest.raises(LabelError, match="layer"):
            Labels({"a": 1, "b": 2, "c": 1}, layers=layers)


def test_masks_of_exclusive_classes_become_one_index() -> None:
    table = Labels({"left": 3, "right": 4}, swap=[("left", "right")])
    masks = np.array([[[[1, 0, 0]]], [[[0, 0, 1]]]])
    assert table.encode(masks).ravel().tolist() == [1, 0, 2]
    assert table.mirrored(masks).tolist() == masks[::-1].tolist()
    with pytest.raises(LabelError, match="overlap"):
        table.encode(np.ones((2, 1, 1, 3), int))
    with pytest.raises(LabelError, match="do not fit"):
        table.encode(np.ones((3, 1, 1, 3), int))
