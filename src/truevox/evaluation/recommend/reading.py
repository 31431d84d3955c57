"""Answers from a YAML file and from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from truevox.errors import FileError, SettingsError
from truevox.files import read_text

__all__ = ["read_answers", "with_answer"]


def read_answers(path: str | Path) -> dict[str, Any]:
    r"""The answers that a YAML file holds, not yet looked at.

    Raises
    ------
    FileError
        If the file can't be read.
    SettingsError
        If it is no YAML, no mapping, or answers a question twice.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "answers.yaml"
    >>> _ = file.write_text("category: semantic\nboundary: yes\n")
    >>> read_answers(file)
    {'category': 'semantic', 'boundary': True}
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise FileError(
            f"The answers can't be read: {reason}.", file=path, remedy="check the path"
        ) from error
    try:
        node, data = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise SettingsError(
            f"The answers are no YAML{where}: {getattr(error, 'problem', None) or error}.",
            file=path,
            remedy="write one 'key: value' per line, and quote text that holds a colon",
        ) from error
    if not isinstance(node, yaml.MappingNode) or not isinstance(data, dict):
        raise SettingsError(
            "The answers are no mapping of keys to values.",
            file=path,
            got=type(data).__name__ if data is not None else "an empty file",
            expected="category: semantic, boundary: yes, ...",
            remedy="write one 'key: value' per line; `truevox recommend --ask --save FILE` makes such a file",
        )
    keys = [key.value for key, _ in node.value]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise SettingsError(
            f"The answer '{twice[0]}' is there twice.", file=path, remedy="keep the one that is true"
        )
    return {str(key): value for key, value in data.items()}


def with_answer(answers: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """Answers with one more, or another one, written ``key=value``.

    Raises
    ------
    SettingsError
        If it is not written so.

    Examples
    --------
    >>> with_answer({"category": "semantic"}, "boundary=yes")
    {'category': 'semantic', 'boundary': 'yes'}
    """
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise SettingsError(
            "An answer is written key=value.",
            got=assignment,
            expected="e.g. boundary=yes",
            remedy="write the question's key, an equals sign and the answer, without spaces between",
        )
    return {**answers, key.strip(): text.strip()}
