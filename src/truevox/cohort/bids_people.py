"""What a BIDS folder says of people: participants.tsv, and the sessions of a subject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from truevox.cohort.case import Value
from truevox.cohort.rows import typed_table
from truevox.errors import CaseError, FileError

__all__ = ["People", "read_people"]

_RESERVED = ("case", "record", "split")
Facts = dict[str, float | str | None]


@dataclass(frozen=True)
class People:
    """Facts by subject, and by subject and session; ``notes`` says what is odd about their columns."""

    facts: Mapping[str, Facts]
    sessions: Mapping[tuple[str, str], Facts]
    names: Mapping[str, str]
    notes: dict[str, str] = field(default_factory=dict)

    def values(self, subject: str, record: str | None) -> dict[str, Value]:
        """Columns of a case; a fact of the session counts before one of the subject."""
        session = next((part for part in (record or "").split("_") if part.startswith("ses-")), "")
        known = {**self.facts.get(subject, {}), **self.sessions.get((subject, session), {})}
        return {column: known.get(name) for name, column in self.names.items()}

    def split(self, subject: str) -> str | None:
        """The split that participants.tsv names."""
        found = self.facts.get(subject, {}).get("split")
        return None if found is None else str(found)


def read_people(folder: Path, subjects: Collection[str], images: Collection[str]) -> People:
    """What is known of subjects. A column that is called as an image, or as part of a case, is kept apart.

    Raises
    ------
    FileError
        If a table can't be read, or does not say whom its rows are about.
    CaseError
        If a subject has two rows.
    """
    notes: dict[str, str] = {}
    facts = _table(folder / "participants.tsv", "participant_id", "sub-", notes)
    sessions = {
        (subject, session): one
        for subject in sorted(subjects)
        for session, one in _table(
            folder / subject / f"{subject}_sessions.tsv", "session_id", "ses-", notes
        ).items()
    }
    if facts and (unknown := sorted(set(subjects) - set(facts))):
        some = ", ".join(unknown[:3]) + ", ..." * (len(unknown) > 3)
        notes["participants.tsv"] = f"{len(unknown)} of {len(subjects)} subjects have no row there ({some})"
    found = dict.fromkeys(n for row in (*facts.values(), *sessions.values()) for n in row if n != "split")
    names = {}
    for name in found:
        taken = name in images or name in _RESERVED
        names[name] = f"participants_{name}" if taken else name
        if taken:
            notes[names[name]] = f"it is '{name}' in participants.tsv, a name that something else has here"
    every = [*names.values(), *images]
    if clash := next((name for name, count in Counter(every).items() if count > 1), None):
        raise CaseError(
            "Two columns would have one name.",
            file=folder / "participants.tsv",
            got=clash,
            remedy="rename the column in participants.tsv",
        )
    return People(facts, sessions, names, notes)


def _table(file: Path, key: str, prefix: str, notes: dict[str, str]) -> dict[str, Facts]:
    """Rows by subject or session; nothing if there is no such table."""
    if not file.exists():
        return {}
    columns = typed_table(file, words=(key,))
    if key not in columns:
        raise FileError(
            f"{file.name} has no column '{key}'.",
            file=file,
            got=", ".join(columns),
            remedy=f"name the column that says whose each row is '{key}'",
        )
    ids = [str(cell) for cell in columns.pop(key).values]
    ids = [one if one.startswith(prefix) else f"{prefix}{one}" for one in ids]
    if twice := next((one for one, count in Counter(ids).items() if count > 1), None):
        raise CaseError(f"{file.name} has two rows of '{twice}'.", file=file, remedy="remove one of them")
    notes.update({name: one.note for name, one in columns.items() if one.note})
    # BIDS has one word for what is not known, among words too.
    cells = {name: [None if v == "n/a" else v for v in one.values] for name, one in columns.items()}
    return {one: {name: values[k] for name, values in cells.items()} for k, one in enumerate(ids)}
