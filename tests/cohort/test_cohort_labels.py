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
