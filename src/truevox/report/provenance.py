"""Where the numbers of a folder come from, in words, from its ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from truevox.report.folder import Folder
from truevox.report.words import seconds

__all__ = ["provenance"]


def provenance(folder: Folder) -> list[tuple[str, str]]:
    """Names and texts, in reading order; whatever of it is there.

    A record of another version, or one that was edited, costs the entries that can't be read only.
    """
    run = folder.run
    # The arguments begin with the command.
    words = [_text(word) for word in _list(run.get("arguments"))] or [_text(run.get("command"))]
    texts = {
        "Command": " ".join(["truevox", *words]) if any(words) else "",
        "Status": ": ".join(filter(None, (_text(run.get("status")), _text(run.get("error"))))),
        "Started": _text(run.get("started")),
        "Took": seconds(run["seconds"]) if "seconds" in run else "",
        "Machine": ", ".join(f"{key} {value}" for key, value in _dict(run.get("machine")).items()),
        "Versions": ", ".join(f"{key} {value}" for key, value in _dict(run.get("versions")).items()),
    }
    found = [(name, text) for name, text in texts.items() if text]
    for name, one in _dict(run.get("inputs")).items():
        file = _dict(one)
        found.append((f"Input {name}", f"{_text(file.get('path'))} (SHA-256 {_text(file.get('sha256'))})"))
    return found + _settings(_dict(run.get("settings")))


def _settings(settings: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Names with those above them, and texts; what is not set is left out."""
    found: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            found += _settings(value, f"{name}: ")
        elif value not in (None, "", []):
            text = ", ".join(map(_text, value)) if isinstance(value, list) else _text(value)
            found.append((name, text))
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
