"""Files found by patterns such as ``scans/{case}_flair.nii.gz``."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from truevox.errors import CaseError

__all__ = ["match_files"]

_TOKEN = re.compile(r"\{case\}|\{record\}|\*\*/|\*|\?")


def match_files(column: str, pattern: str) -> dict[tuple[str, str | None], Path]:
    """Files that match a pattern, by (case, record).

    Parameters
    ----------
    column : str
        For messages.
    pattern : str
        Path with ``{case}``, optionally ``{record}``, and the wildcards ``*``, ``?``, ``**/``.

    Raises
    ------
    CaseError
        If the pattern lacks ``{case}``, no file matches, or two files match for one case.
    """
    if "{case}" not in pattern:
        raise CaseError(
            f"The pattern of column '{column}' does not say where the case's name is.",
            got=pattern,
            remedy="write {case} for the part of the path that names the case",
        )
    wanted = _expression(pattern)
    wild = glob.escape(pattern).replace("[*]", "*").replace("[?]", "?")
    wild = wild.replace("{case}", "*").replace("{record}", "*")
    found: dict[tuple[str, str | None], Path] = {}
    for name in sorted(glob.glob(wild, recursive=True)):
        match = wanted.fullmatch(name.replace("\\", "/"))
        if match is None:
            continue
        key = (match["case"], match.groupdict().get("record"))
        if key in found:
            raise CaseError(
                f"Two files match the pattern of column '{column}'.",
                case="/".join(part for part in key if part),
                got=f"{found[key]} and {name}",
                remedy="make the pattern narrower, or use {record} for the part that differs",
            )
        found[key] = Path(name)
    if not found:
        raise CaseError(
            f"No file matches the pattern of column '{column}'.",
            got=pattern,
            remedy="check the folder and the pattern",
        )
    return found


def _expression(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression; a name that comes twice must be the same both times."""
    parts, end, named = [], 0, set()
    text = pattern.replace("\\", "/")
    for token in _TOKEN.finditer(text):
        parts.append(re.escape(text[end : token.start()]))
        end, what = token.end(), token[0]
        if what in named:
            parts.append(f"(?P={what[1:-1]})")
        elif what.startswith("{"):
            parts.append(f"(?P<{what[1:-1]}>[^/]+)")
            named.add(what)
        else:
            parts.append({"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}[what])
    return re.compile("".join(parts) + re.escape(text[end:]))
