"""What the outputs in a folder of predictions mean: ``labels.json``, written beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truevox.errors import FileError, TrueVoxError
from truevox.files import expect_folder, read_json, write_json
from truevox.io import reading_suffixes
from truevox.labels import Labels
from truevox.origin import Origin

__all__ = ["Output", "find_cases", "find_output", "read_outputs", "write_outputs"]

_NAME = "labels.json"


@dataclass(frozen=True)
class Output:
    """One output of a model, as found in ``predictions/<case>/<output>.nii.gz``.

    Parameters
    ----------
    labels : Labels
        Meaning of its values, and of the channels of ``<output>_probabilities.nii.gz``.
    reference : str, optional
        Column of the cohort that holds the truth.
    origin : Origin, optional
        What its probabilities were made with; None where that is not known.

    Examples
    --------
    >>> Output(Labels({"tumour": 1}), reference="mask").labels.channels
    1
    """

    labels: Labels
    reference: str | None = None
    origin: Origin | None = None


def write_outputs(folder: str | Path, outputs: Mapping[str, Output]) -> None:
    """Write ``labels.json`` into a folder of predictions.

    Raises
    ------
    FileError
        If it can't be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_outputs(folder, {"tumour": Output(Labels({"tumour": 1}), "mask")})
    >>> read_outputs(folder)["tumour"].reference
    'mask'
    """
    data = {name: _plain(output) for name, output in outputs.items()}
    write_json(Path(folder) / _NAME, data)


def _plain(output: Output) -> dict[str, Any]:
    origin = {} if output.origin is None else {"origin": output.origin.to_dict()}
    return {**output.labels.to_dict(), "reference": output.reference, **origin}


def _output(data: Mapping[str, Any]) -> Output:
    origin = data.get("origin")
    return Output(
        Labels.from_dict(data),
        data.get("reference"),
        None if origin is None else Origin.from_dict(origin),
    )


def read_outputs(folder: str | Path) -> dict[str, Output]:
    """Read ``labels.json`` of a folder of predictions.

    It holds ``{"<output>": {"names": {...}, "reference": "<column>", "origin": {...}}}``; the last says
    what a model was trained with, and may be left out.

    Raises
    ------
    FileError
        If it is missing or damaged.
    """
    path = Path(folder) / _NAME
    expect_folder(folder)
    if not path.is_file():
        raise FileError(
            "The folder of predictions has no labels.json, which says what their values mean.",
            file=path,
            expected='{"<output>": {"names": {"tumour": 1}, "reference": "mask"}}',
            remedy="`truevox predict` writes it; or write it by hand",
        )
    data = read_json(path)
    try:
        return {str(name): _output(one) for name, one in data.items()}
    except (AttributeError, KeyError, TypeError, ValueError, TrueVoxError) as error:
        raise FileError(
            f"labels.json does not describe outputs: {error}.",
            file=path,
            expected='{"<output>": {"names": {"tumour": 1}, "reference": "mask"}}',
            remedy="predict again, or write an entry like this for each output",
        ) from error


def find_output(folder: Path, output: str) -> Path | None:
    """The file of an output in a case's folder, whatever its format; None if there is none."""
    for suffix in reading_suffixes():
        if (folder / f"{output}{suffix}").exists():
            return folder / f"{output}{suffix}"
    return None


def find_cases(predictions: Path, outputs: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Keys and folders of the cases: all folders that hold an output, by name.

    Raises
    ------
    FileError
        If the folder of predictions does not exist.
    """
    if not predictions.is_dir():
        raise FileError(
            "The folder of predictions does not exist.", file=predictions, remedy="check the path"
        )
    names = list(outputs)
    # A record of a case is a folder inside the case's folder.
    for folder in sorted([*predictions.glob("*/"), *predictions.glob("*/*/")]):
        if folder.is_dir() and any(
            find_output(folder, n) or find_output(folder, f"{n}_probabilities") for n in names
        ):
            yield folder.relative_to(predictions).as_posix(), folder
