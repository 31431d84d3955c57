"""Which case a file is of, by its name: ways of reading names, and the pair of ways that fits two folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from truevox.errors import SettingsError

__all__ = ["Match", "match_names", "pattern_way"]

_ENDINGS = (
    "seg", "segmentation", "dseg", "label", "labels", "mask", "pred", "prediction", "gt", "truth",
    "reference", "probabilities", "probability", "softmax", "0000",
)  # fmt: skip
_ENDING = re.compile(rf"[_\-. ](?:{'|'.join(_ENDINGS)})$", re.IGNORECASE)
_SEPARATORS = "_-. "
_ENTITIES = re.compile(r"(sub|ses|acq|run|task|echo|chunk)-([A-Za-z0-9]+)")

Way = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Match:
    """Cases by name.

    Parameters
    ----------
    ways : (str, str)
        How the names of predictions and of references were read.
    predictions, references : dict of case to positions in the two lists
        Several positions: the name does not say which file is meant.
    """

    ways: tuple[str, str]
    predictions: dict[str, list[int]]
    references: dict[str, list[int]]

    @property
    def matched(self) -> list[str]:
        """Cases with one prediction and one reference, in the order of the references."""
        return [
            case
            for case, found in self.references.items()
            if len(found) == 1 and len(self.predictions.get(case, ())) == 1
        ]


def match_names(predictions: Sequence[str], references: Sequence[str], way: Way | None = None) -> Match:
    """Match files by name.

    Every way of reading names is tried for each folder; the pair of ways that tells most cases apart and
    together counts, of equals the first.

    Parameters
    ----------
    predictions, references : sequences of str
        Paths in their folders, with ``/``, without the suffix of the format.
    way : callable, optional
        The only way that counts.

    Examples
    --------
    >>> found = match_names(["p1_seg", "p2_seg"], ["p1/mask", "p2/mask"])
    >>> found.matched, found.ways
    (['p1', 'p2'], ('file name', 'folder'))
    """
    ways = _WAYS if way is None else {"--match": way}
    left = {name: _by_key(one(predictions)) for name, one in ways.items()}
    right = {name: _by_key(one(references)) for name, one in ways.items()}
    found = [Match((a, b), left[a], right[b]) for a in ways for b in ways]
    return max(found, key=lambda match: len(match.matched))  # max keeps the first of equals


def pattern_way(pattern: str) -> Way:
    r"""A way of reading names by a regular expression: its first group, or all that it matches.

    Raises
    ------
    SettingsError
        If it is no regular expression.

    Examples
    --------
    >>> pattern_way(r"(case\d+)")(["a/case07_final"])
    ['case07']
    """
    try:
        made = re.compile(pattern)
    except re.error as error:
        raise SettingsError(
            f"--match is no regular expression: {error}.",
            got=pattern,
            expected=r"e.g. '(case_\d+)'",
            remedy="correct the expression, and put it between single quotes so that the shell keeps it",
        ) from error

    def way(stems: Sequence[str]) -> list[str]:
        found = [made.search(stem) for stem in stems]
        return [(m[1] if made.groups else m[0]) or "" if m is not None else "" for m in found]

    return way


def _by_key(keys: list[str]) -> dict[str, list[int]]:
    """Positions by key; an empty key is none."""
    found: dict[str, list[int]] = defaultdict(list)
    for k, key in enumerate(keys):
        if key:
            found[key].append(k)
    return dict(found)


def _file_name(stems: Sequence[str]) -> list[str]:
    return [_plain(stem.rpartition("/")[2]) for stem in stems]


def _folder(stems: Sequence[str]) -> list[str]:
    return [stem.rpartition("/")[0] for stem in stems]


def _path(stems: Sequence[str]) -> list[str]:
    return list(stems)


def _core(stems: Sequence[str]) -> list[str]:
    """File names without what all of them begin or end with; numbers are never taken for decoration."""
    names = _file_name(stems)
    if len(set(names)) < 2:
        return [""] * len(names)
    tail = _shared([name[::-1] for name in names])[::-1]
    head = _shared([name[: len(name) - len(tail)] for name in names])
    return [name[len(head) : len(name) - len(tail)] for name in names]


def _shared(names: list[str]) -> str:
    """The longest beginning that all share and that ends at a separator, if it has no digit."""
    low, high = min(names), max(names)
    size = next(
        (k for k, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )
    while size and not (low[size - 1] in _SEPARATORS and not any(c.isdigit() for c in low[:size])):
        size -= 1
    return low[:size]


def _plain(name: str) -> str:
    """``p07`` of ``p07_seg`` or ``p07_0000``; subject and record of a name of BIDS."""
    entities = dict(_ENTITIES.findall(name)) if name.startswith("sub-") else {}
    if entities:
        record = "_".join(f"{key}-{value}" for key, value in entities.items() if key != "sub")
        return f"sub-{entities['sub']}" + (f"/{record}" if record else "")
    while (shorter := _ENDING.sub("", name)) != name:
        name = shorter
    return "" if name.lower() in _ENDINGS else name


_WAYS: dict[str, Way] = {
    "file name": _file_name,
    "folder": _folder,
    "path": _path,
    "core of the file name": _core,
}
