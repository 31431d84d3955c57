"""Label tables as people have them: files of other tools, or a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truevox.cohort.found import labels_in
from truevox.errors import SettingsError
from truevox.files import read_json
from truevox.label_files import number_in, whole_number
from truevox.labels import Labels
from truevox.measures.outputs import read_outputs

__all__ = ["Choice", "beside", "choose_labels"]

FOREGROUND = "foreground"
_EXPECTED = (
    "tumour=1,liver=2,whole=1+2, lesion=nonzero, or a file: .json, .yaml, .csv, .tsv, .txt of ITK-SNAP"
)


@dataclass(frozen=True)
class Choice:
    """Which labels are scored.

    Parameters
    ----------
    labels : Labels, optional
        None: every value that occurs.
    binary : bool
        All that is not 0 is one label, value 1.
    source : str
        Where that is said.
    """

    labels: Labels | None = None
    binary: bool = False
    source: str = ""


def choose_labels(given: Mapping[str, Any] | str | None) -> Choice:
    """A label table from a mapping, the name of a file, or words.

    Parameters
    ----------
    given : mapping, str or None
        ``{"tumour": 1, "whole": [1, 2]}``; a file (also nnU-Net's dataset.json); ``tumour=1,whole=1+2``;
        ``nonzero`` or ``lesion=nonzero`` for all that is not 0; ``ignore=255`` for a value that counts for
        neither mask.

    Raises
    ------
    SettingsError
        If the words are none of these.
    FileError, LabelError
        As :meth:`truevox.Labels.from_file`.

    Examples
    --------
    >>> choose_labels("tumour=1,edema=2,whole=tumour+edema").labels.names
    {'tumour': 1, 'edema': 2, 'whole': (1, 2)}
    >>> choose_labels("lesion=nonzero").binary
    True
    """
    if given is None:
        return Choice()
    if isinstance(given, Mapping):
        return _of_mapping(dict(given), "settings")
    text = given.strip()
    if text == "nonzero":
        return Choice(Labels({FOREGROUND: 1}), True, "--labels")
    if "=" not in text or Path(text).exists():
        return Choice(_of_file(Path(text)), source=text)
    table: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, values = (word.strip() for word in part.partition("="))
        if not (name and equals and values):
            raise SettingsError(
                "The labels can't be understood.",
                got=part.strip() or given,
                expected=_EXPECTED,
                remedy="write a name and a value for each label, with commas between them",
            )
        if name in table:
            raise SettingsError(
                f"The label '{name}' is there twice.",
                got=given,
                remedy="write several values of one label with +: whole=1+2",
            )
        found = [number_in(word.strip()) for word in values.split("+")]
        table[name] = found if len(found) > 1 or isinstance(found[0], str) else found[0]
    return _of_mapping(table, "--labels")


def beside(predictions: Path, reference: Path) -> Choice:
    """The table that lies with the files: of TrueVox or nnU-Net, with the predictions or the references.

    Raises
    ------
    SettingsError
        If there are several that contradict each other.
    FileError, LabelError
        If one can't be read.
    """
    found: list[Choice] = []
    if (predictions / "labels.json").is_file():
        outputs = read_outputs(predictions)
        if len(outputs) == 1:
            labels = next(iter(outputs.values())).labels
            found.append(Choice(labels, source=str(predictions / "labels.json")))
    above = [reference.parent] if reference.name.startswith("labels") else []
    for folder in (predictions, reference, *above):
        if (folder / "dataset.json").is_file():
            labels = labels_in(read_json(folder / "dataset.json"), folder / "dataset.json")
            if labels is not None:
                found.append(Choice(labels, source=str(folder / "dataset.json")))
    for other in found[1:]:
        _expect_agreement(found[0], other)
    return found[0] if found else Choice()


def _expect_agreement(one: Choice, other: Choice) -> None:
    """Refuse two tables that give a name two values, or a value two names."""
    tables = [choice.labels for choice in (one, other) if choice.labels is not None]
    a, b = ({name: set(t.values_of(name)) for name in t.names} for t in tables)
    names = {n for n in a.keys() & b.keys() if a[n] != b[n]}
    values = {n for x, y in ((a, b), (b, a)) for n in x.keys() - y.keys() if x[n] in y.values()}
    if odd := sorted(names | values):
        shown = [{n: sorted(t[n]) for n in odd if n in t} for t in (a, b)]
        raise SettingsError(
            "The label tables that lie with predictions and references contradict each other.",
            got=f"{shown[0]} in {one.source}; {shown[1]} in {other.source}",
            remedy="say which labels are meant by --labels, or correct the tables",
        )


def _of_mapping(table: dict[str, Any], source: str) -> Choice:
    words = [value for value in table.values() if value in ("nonzero", ["nonzero"])]
    if words and len(table) > 1:
        raise SettingsError(
            "'nonzero' is a label table of one label.",
            got=table,
            expected="lesion=nonzero",
            remedy="leave the other labels out, or give every label its values",
        )
    if words:
        return Choice(Labels({next(iter(table)): 1}), True, source)
    ignore = table.pop("ignore", None)
    if ignore is not None and whole_number(ignore) is None:
        raise SettingsError(
            "What is ignored is one value.",
            got=ignore,
            expected="ignore=255",
            remedy="name one whole number; give further values to a label of their own",
        )
    names = {name: value for name, value in table.items() if value not in (0, [0])}
    return Choice(Labels(names, ignore=ignore), source=source)


def _of_file(file: Path) -> Labels:
    if not file.exists() and "." not in file.name:
        raise SettingsError(
            "The labels can't be understood.",
            got=str(file),
            expected=_EXPECTED,
            remedy="correct the path of the file, or write the labels here",
        )
    if file.suffix.lower() == ".json" and file.is_file():
        data = read_json(file)
        found = labels_in(data, file) if isinstance(data, Mapping) else None
        if found is not None:
            return found
        if file.name == "labels.json" and len(outputs := read_outputs(file.parent)) == 1:
            return next(iter(outputs.values())).labels
    return Labels.from_file(file)
