"""Where the volumes of a method come from: loss, training, validation, as its predictions say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from truevox.origin import Origin
from truevox.report.folder import Folder

__all__ = ["VolumeOrigin", "origins"]

_WAYS = {"threshold": "of the mask", "expected": "expected"}


@dataclass(frozen=True)
class VolumeOrigin:
    """A line of the page: the origin of one kind of volume of one structure.

    Parameters
    ----------
    method : int
        Index of the folder.
    structure, way, note : str
        What was segmented; ``expected`` or ``of the mask``; the origin in words.
    """

    method: int
    structure: str
    way: str
    note: str


def origins(folders: Sequence[Folder]) -> list[VolumeOrigin]:
    """Lines for all volumes in the tables whose origin is known, from ``origins`` in ``run.json``."""
    found: dict[VolumeOrigin, None] = {}
    for number, folder in enumerate(folders):
        known = folder.run.get("origins")
        known = known if isinstance(known, dict) else {}
        read = {output: _read(data) for output, data in known.items()}
        for one in folder.scores:
            stem, _, rest = one.definition.partition("/")
            origin = read.get(one.output)
            if origin is None or "volume" not in stem or stem == "reference_volume":
                continue
            way = "expected" if rest.startswith("expected") else "threshold"
            name = folder.structure(one.output, one.label)
            found[VolumeOrigin(number, name, _WAYS[way], origin.note(one.label, way))] = None
    return list(found)


def _read(data: object) -> Origin | None:
    """An origin; None if it was not written, or can't be read."""
    try:
        return Origin.from_dict(data)  # type: ignore[arg-type]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
