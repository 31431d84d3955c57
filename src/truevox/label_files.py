"""Label tables as files and mappings have them: names and values in either order, with the background."""

from __future__ import annotations

import csv
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from truevox.errors import FileError, LabelError
from truevox.files import read_text

__all__ = ["check_table", "described", "number_in", "resolved", "table_in", "whole_number"]

# Index, colour (red, green, blue, opacity), visibility, visibility of the mesh, name in quotes.
_SNAP = re.compile(r"\s*(\d+)\s+(?:[\d.]+\s+){6}\"(.*)\"\s*")


def whole_number(value: Any) -> int | None:
    """A voxel value as an int, also from NumPy's integers and from 1.0; None for anything else.

    Examples
    --------
    >>> whole_number(1.0), whole_number(np.uint8(3)), whole_number(1.5), whole_number("1"), whole_number(True)
    (1, 3, None, None, None)
    """
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    return None


def resolved(names: Mapping[Any, Any]) -> dict[str, int | tuple[int, ...]]:
    """Classes with their values as ints; names inside of regions are replaced by their values.

    Raises
    ------
    LabelError
        If a class has no value, or a region names itself or a class that is not there.
    """
    given = {str(n): v if (k := whole_number(v)) is None else k for n, v in names.items()}
    if len(given) < len(names):
        raise LabelError("Two classes have one name.", got=list(names), remedy="give each its own name")
    return {n: v if isinstance(v, int) and v is not True else _values(n, given, ()) for n, v in given.items()}


def check_table(
    table: Mapping[str, int | tuple[int, ...]],
    swap: Sequence[tuple[str, str]],
    ignore: object,
    layers: Mapping[str, int | None] | None,
) -> None:
    """Refuse a table that is empty or contradicts itself.

    Raises
    ------
    LabelError
    """
    values = {name: (value,) if isinstance(value, int) else value for name, value in table.items()}
    if not table:
        raise LabelError(
            "A label table names at least one foreground class.", remedy='write e.g. {"tumour": 1}'
        )
    if any(0 in own for own in values.values()):
        raise LabelError("Value 0 is the background and needs no name.", got=table, remedy="leave it out")
    ignored = whole_number(ignore)
    if ignore is not None and ignored is None:
        raise LabelError(
            "The value to ignore is no whole number.", got=ignore, remedy="name one voxel value, such as 255"
        )
    if layers is not None and (
        layers.keys() != table.keys() or any(k is None or k < 0 for k in layers.values())
    ):
        raise LabelError(
            "Every class has a layer, from 0.",
            got=layers,
            expected=list(table),
            remedy="give each of these classes the number of its channel, or leave the layers out",
        )
    if any(ignored in own for own in values.values()):
        raise LabelError(
            "The value to ignore is also a class.",
            got=ignored,
            remedy="remove it from the class, or from 'ignore'",
        )
    if unknown := {n for pair in swap for n in pair} - set(table):
        raise LabelError(
            "Mirrored pairs name classes that the table lacks.",
            got=sorted(unknown),
            remedy="add these classes to the table, or remove their pairs from 'swap'",
        )
    paired = [n for pair in swap for n in pair]
    if len(set(paired)) < len(paired):
        raise LabelError(
            "A class has one partner in a mirror, another class.",
            got=tuple(swap),
            remedy="keep one pair for each class in 'swap'",
        )
    if uneven := [(a, b) for a, b in swap if len(values[a]) != len(values[b])]:
        raise LabelError(
            "Mirrored classes have as many values as each other.",
            got=uneven,
            remedy="give both sides their values in the same order, or remove the pair from 'swap'",
        )


def _values(name: str, given: Mapping[str, Any], above: tuple[str, ...]) -> tuple[int, ...]:
    """Values of a class, with the names in its list replaced by theirs; each value once."""
    if name in above:
        raise LabelError(
            "A region is made of itself.",
            got=" in ".join((name, *reversed(above))),
            remedy="list the values of the class instead of its own name",
        )
    if name not in given:
        raise LabelError(
            f"A region is made of '{name}', which the table lacks.",
            expected=", ".join(given),
            remedy="values are whole numbers, and names those of the table, e.g. a=1,b=2,whole=a+b",
        )
    value = given[name]
    if (number := whole_number(value)) is not None:
        return (number,)
    if isinstance(value, str) or not isinstance(value, Iterable) or not (parts := list(value)):
        raise LabelError(
            f"Class '{name}' has no value.",
            got=value,
            expected="a whole number, or a list of values and names",
            remedy=f"give '{name}' a value: \"{name}\": 1",
        )
    found: list[int] = []
    for part in parts:
        number = whole_number(part)
        if number is None and not isinstance(part, str):
            raise LabelError(
                f"Class '{name}' has a value that is no whole number.",
                got=part,
                expected="e.g. 1, 2",
                remedy=f"write whole numbers, or names of other classes of the table, for '{name}'",
            )
        found += _values(part, given, (*above, name)) if number is None else (number,)
    return tuple(dict.fromkeys(found))


def described(table: Mapping[Any, Any]) -> dict[str, Any]:
    """Names and the value to ignore, of a mapping of names to values or of values to names.

    ``{"background": 0, "core": 1, "whole": [1, 2], "ignore": 3}`` or ``{"0": "background", "1": "core"}``.

    Raises
    ------
    LabelError
        If a value has two names, or 'ignore' is no value.

    Examples
    --------
    >>> described({"0": "background", "1": "core", "2": "ignore"})
    {'names': {'core': 1}, 'ignore': 2}
    """
    pairs = [(name, number_in(value)) for name, value in table.items()]
    if pairs and all(isinstance(value, str) for _, value in pairs):
        pairs = [(value, number_in(name)) for name, value in pairs]
        if twice := sorted({str(n) for n, _ in pairs if sum(n == m for m, _ in pairs) > 1}):
            raise LabelError(
                f"Class '{twice[0]}' is there twice.",
                got=dict(table),
                remedy='rename one of the two, or join them: "name": [1, 2]',
            )
    names = {str(name): value for name, value in pairs if value not in (0, [0])}
    ignore = names.pop("ignore", None)
    if not (ignore is None or isinstance(ignore, int)):
        raise LabelError(
            "The label 'ignore' is one value.",
            got=ignore,
            remedy="name one whole number, such as 255, and give that value to all voxels to ignore",
        )
    return {"names": names, "ignore": ignore}


def table_in(file: Path) -> dict[str, Any]:
    """The label table of a file as plain data; see :meth:`truevox.Labels.from_file`.

    Raises
    ------
    FileError, LabelError
        As there.
    """
    try:
        text = read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise FileError(
            f"The label table can't be read: {reason}.", file=file, remedy="check the path"
        ) from error
    suffix = file.suffix.lower()
    if suffix in (".yaml", ".yml", ".json"):
        return _of_mapping(_mapping(text, suffix))
    if suffix in (".csv", ".tsv"):
        lines = text.splitlines()
        # As some spreadsheets write it.
        apart = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
        rows = list(csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else apart))
        key = next((k for k in ("index", "value") if rows and k in rows[0]), None)
        if key is None or "name" not in rows[0]:
            raise LabelError(
                "A table of labels has the columns 'name' and 'index'.",
                got=", ".join(rows[0] if rows else []),
                remedy="write a first line 'index,name'",
            )
        return {"names": _foreground((row["name"], row[key]) for row in rows)}
    if suffix in (".txt", ".label"):
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        found = [match for line in lines if (match := _SNAP.fullmatch(line)) is not None]
        if len(found) != len(lines):
            raise LabelError(
                "The file holds no label descriptions of ITK-SNAP.",
                got=lines[0][:80],
                remedy="save it again as label descriptions of ITK-SNAP, or as .json, .yaml, .csv or .tsv",
            )
        return {"names": _foreground((match[2], match[1]) for match in found)}
    raise FileError(
        "A label table with this suffix can't be read.",
        file=file,
        got=suffix or "no suffix",
        expected=".yaml, .json, .csv, .tsv, or .txt of ITK-SNAP",
        remedy='rename the file, or write the table as .json: {"tumour": 1}',
    )


@cache
def _loader() -> Any:
    """YAML, and so JSON, in which a name stands once: of two, the plain loader keeps the last in silence."""
    import yaml

    class Once(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if twice := [key for key in keys if keys.count(key) > 1]:
                raise LabelError(
                    f"'{twice[0]}' is there twice.",
                    got=", ".join(map(str, keys[:20])),
                    remedy="remove one of the two, or rename it",
                )
            return super().construct_mapping(node, deep)

    return Once


def _mapping(text: str, suffix: str) -> Mapping[str, Any]:
    import yaml

    try:
        data = yaml.load(text, _loader())
    except yaml.YAMLError as error:
        raise LabelError(
            f"The label table is no {suffix[1:].upper()}: {error}.",
            remedy="correct the place that is named; one 'name: value' per line is enough",
        ) from error
    if not isinstance(data, Mapping):
        raise LabelError(
            "A label table is a mapping of names to values.",
            got=type(data).__name__,
            remedy="write name: value, one class per line",
        )
    return data


def _of_mapping(data: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("names", "labels"):
        if isinstance(data.get(key), Mapping):
            found = described(data[key])
            rest = {name: data[name] for name in ("swap", "ignore", "layers") if data.get(name) is not None}
            return found | (rest if key == "names" else {})
    outputs = {
        k: v for k, v in data.items() if isinstance(v, Mapping) and isinstance(v.get("names"), Mapping)
    }
    if outputs and len(outputs) == len(data):
        if len(outputs) > 1:
            raise LabelError(
                "The file holds the label tables of several outputs.",
                got=", ".join(map(str, outputs)),
                remedy='truevox.measures.read_outputs(folder)["..."].labels takes one of them',
            )
        return _of_mapping(next(iter(outputs.values())))
    return described(data)


def number_in(value: Any) -> Any:
    """A whole number, or a list of them, also where JSON has them as text; else the value as it is."""
    if isinstance(value, list):
        return [number_in(v) for v in value]
    if (found := whole_number(value)) is not None:
        return found
    try:
        return (
            found if isinstance(value, str) and (found := whole_number(float(value))) is not None else value
        )
    except ValueError:
        return value


def _foreground(pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Names and values of a table's rows without the background: each name and each value once."""
    table: dict[str, int] = {}
    for name, text in pairs:
        value = number_in(text)
        if not isinstance(value, int):
            raise LabelError(
                f"The value of class '{name}' is no whole number.",
                got=text,
                remedy=f"write a whole number for '{name}', such as 1",
            )
        if value == 0:
            continue
        if name in table:
            raise LabelError(
                f"Class '{name}' is there twice.",
                got=(table[name], value),
                remedy="rename one of the two, or give both values to one class: [1, 2]",
            )
        if other := [n for n, v in table.items() if v == value]:
            raise LabelError(
                f"Value {value} has two names.",
                got=f"{other[0]}, {name}",
                remedy="remove one of the names, or give the other a value of its own",
            )
        table[name] = value
    return table
