"""YAML in, errors out: what is wrong with a recipe, by key."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from truevox.errors import FileError, SettingsError
from truevox.files import read_text

__all__ = ["explain", "override", "read_yaml"]


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice: YAML would keep the last one in silence."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key.value}' is there twice", key.start_mark
            )
        seen.add(key.value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises
    ------
    FileError
        If the file can't be read.
    SettingsError
        If it is no YAML, or no mapping; names the line.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise FileError(f"The recipe can't be read: {reason}.", file=path, remedy="check the path") from error
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or str(error)
        raise SettingsError(
            f"The recipe is no YAML{where}: {what}.",
            file=path,
            remedy="correct this line: one 'key: value' each, indented with spaces",
        ) from error
    if not isinstance(data, dict):
        raise SettingsError(
            "The recipe is no mapping of keys to values.",
            file=path,
            got=type(data).__name__ if data is not None else "an empty file",
            expected="images: [flair], label: tumour, ...",
            remedy="write one 'key: value' per line; `truevox train COHORT` writes a whole recipe",
        )
    return data


def override(data: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """A copy of ``data`` with one ``key.path=value``; the value is read as YAML.

    Raises
    ------
    SettingsError
        If the assignment has no ``=``, its value is no YAML, or its path runs through a value.

    Examples
    --------
    >>> override({"train": {"max_steps": 9}}, "train.learning_rate=1e-3")
    {'train': {'max_steps': 9, 'learning_rate': '1e-3'}}
    """
    path, equals, text = assignment.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise SettingsError(
            "A setting is written key=value.",
            got=assignment,
            expected="e.g. train.max_steps=500",
            remedy="write the key, an equals sign and the value, without spaces between",
        )
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise SettingsError(
            f"The value of '{path}' is no YAML.",
            got=text,
            remedy="put the value between quotes, or close its bracket",
        ) from error
    return _placed(data, keys, value, assignment)


def _placed(data: Mapping[str, Any], keys: list[str], value: Any, assignment: str) -> dict[str, Any]:
    first, rest = keys[0], keys[1:]
    if not rest:
        return {**data, first: value}
    inner = data.get(first)
    if inner is not None and not isinstance(inner, Mapping):
        raise SettingsError(
            f"The key '{first}' holds a value and no further keys.",
            got=assignment,
            remedy=f"set {first}=... itself, without a key behind it",
        )
    return {**data, first: _placed(inner or {}, rest, value, assignment)}


def explain(error: ValidationError, model: type[BaseModel], data: Any, file: Path | None) -> SettingsError:
    """What pydantic found, by key: the value got, and what would be right."""
    found: dict[str, list[Any]] = {}
    for one in error.errors(include_url=False):
        keys = _keys(one["loc"], data, one["type"])
        found.setdefault(".".join(keys), []).append((keys, one))
    problems = [_problem(key, entries, model) for key, entries in found.items()]
    if len(problems) == 1:
        message, got, expected, remedy = problems[0]
        other = f"write another value in the recipe, or --set {next(iter(found)) or 'key'}=..."
        return SettingsError(message, file=file, got=got, expected=expected, remedy=remedy or other)
    lines = []
    for message, got, expected, remedy in problems:
        parts = [
            f"got {got}" if got is not None else "",
            f"expected {expected}" if expected else "",
            remedy or "",
        ]
        lines.append(f"  {message} {'; '.join(p for p in parts if p)}".rstrip())
    return SettingsError(
        "\n".join([f"The recipe has {len(problems)} mistakes.", *lines]),
        file=file,
        remedy="correct each of these keys in the recipe, or by --set",
    )


def _keys(location: tuple[Any, ...], data: Any, kind: str) -> list[str]:
    """The path as the user wrote it: pydantic's also names branches of unions and left-out keys."""
    keys: list[str] = []
    for part in location:
        listed = isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data)
        if listed or (isinstance(data, Mapping) and part in data):
            data = data[part]
            keys.append(str(part))
    if kind == "missing":
        keys.append(str(location[-1]))
    return keys


def _problem(key: str, entries: list[Any], model: type[BaseModel]) -> tuple[str, Any, str | None, str | None]:
    keys, first = entries[0]
    if first["type"] == "extra_forbidden":
        known = _fields(model, keys[:-1])
        near = difflib.get_close_matches(keys[-1], known, 1, 0.5)
        parent = "".join(f"{k}." for k in keys[:-1])
        remedy = f"did you mean '{parent}{near[0]}'?" if near else "remove it"
        return f"The recipe has no key '{key}'.", repr(first["input"]), ", ".join(known), remedy
    if first["type"] == "missing":
        return f"The recipe lacks the key '{key}'.", None, "a value", None
    where = f"The recipe's key '{key}' can't be used" if key else "The recipe can't be used"
    got = _shown(first["input"]) if key else None
    if first["type"] == "value_error":
        return f"{where}: {_expected(first)}.", got, None, None
    return f"{where}.", got, " or ".join(dict.fromkeys(_expected(e) for _, e in entries)), None


def _expected(entry: Any) -> str:
    text = str(entry["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return text[:1].lower() + text[1:]


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, BaseModel) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _fields(model: type[BaseModel], keys: list[str]) -> list[str]:
    """Keys of the section that a path leads to."""
    for key in keys:
        field = model.model_fields.get(key)
        annotation = field.annotation if field is not None else None
        options = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type)]
        model = next((a for a in options if issubclass(a, BaseModel)), model)
    return list(model.model_fields)
