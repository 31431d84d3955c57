"""The cases to look at: pictures of their errors, and volumes for the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from truevox.errors import CaseError, TrueVoxError
from truevox.report.comparison import data_uri
from truevox.report.error_maps import ErrorMap, error_map, label_values
from truevox.report.folder import Folder
from truevox.report.pictures import planes, png
from truevox.report.volumes import Small, viewer_volumes
from truevox.report.worst import Pick, flags, picks

__all__ = ["Exhibit", "Gallery", "gallery"]

LARGEST = 60
"""Most pictures in a page."""
BYTES = 4_000_000
"""Most bytes of volumes in a page, before base64."""


@dataclass(frozen=True)
class Exhibit:
    """A case in the gallery.

    Parameters
    ----------
    method : int
    case, structure : str
    reasons, flags, notes : sequence of str
        Why it is shown, what is odd about its scores, what is to know about its files.
    planes : tuple of str
    picture : str
        PNG as a data URI.
    volumes : Small, optional
        For the viewer.
    """

    method: int
    case: str
    structure: str
    reasons: tuple[str, ...]
    flags: list[str]
    notes: tuple[str, ...]
    planes: tuple[str, ...]
    picture: str
    volumes: Small | None


@dataclass(frozen=True)
class Gallery:
    """Exhibits, and what could not be shown.

    Parameters
    ----------
    exhibits : list of Exhibit
    unseen : list of (method, case, structure, reason)
        Cases among the worst whose files could not be opened.
    left_out : int
        Cases that are beyond the limit of a page.
    """

    exhibits: list[Exhibit] = field(default_factory=list)
    unseen: list[tuple[int, str, str, str]] = field(default_factory=list)
    left_out: int = 0

    @property
    def planes(self) -> list[str]:
        """All planes that are drawn."""
        return list(dict.fromkeys(name for one in self.exhibits for name in one.planes))


def gallery(folders: Sequence[Folder], worst: int, cases_in_viewer: int) -> Gallery:
    """Open the worst cases and draw them; nothing for a folder without ``cases.csv``.

    Parameters
    ----------
    folders : sequence of Folder
    worst : int
        Cases of each method, structure and metric.
    cases_in_viewer : int
        How many of them, from the worst, come with volumes; fewer if they are large.
    """
    chosen = [pick for pick in picks(folders, worst) if folders[pick.method].cases]
    odd = [flags(folder) for folder in folders]
    found = Gallery(left_out=max(len(chosen) - LARGEST, 0))
    budget, volumes_left = BYTES, cases_in_viewer
    for pick in chosen[:LARGEST]:
        folder = folders[pick.method]
        name = folder.structure(pick.output, pick.label)
        try:
            opened = _open(folder, pick)
        except TrueVoxError as error:
            found.unseen.append((pick.method, pick.case, name, error.message))
            continue
        # A picture, or a single slice, has no third dimension to look at.
        solid = opened.grid.unit == "mm" and opened.grid.ndim == 3
        volumes = viewer_volumes(opened) if volumes_left > 0 and solid else None
        if volumes is not None:
            size = len(volumes.codes) + len(volumes.image)
            if size <= budget:
                volumes_left, budget = volumes_left - 1, budget - size
            else:
                volumes = None  # a smaller one may still fit
        found.exhibits.append(
            Exhibit(
                pick.method,
                pick.case,
                name,
                pick.reasons,
                odd[pick.method].get((pick.case, pick.output, pick.label), []),
                opened.notes,
                planes(opened.grid),
                data_uri(png(opened)),
                volumes,
            )
        )
    return found


def _open(folder: Folder, pick: Pick) -> ErrorMap:
    files = folder.files(pick.case, pick.output)
    if files is None:
        raise CaseError(
            "The case has no files in cases.csv.",
            case=pick.case,
            file=folder.path / "cases.csv",
            remedy="evaluate again: the report needs the row of each case in cases.csv",
        )
    values = label_values(folder, pick.output, pick.label, files.prediction or files.reference)
    return error_map(files, values, pick.label)
