"""``truevox split``: a table in which every patient has a fold or a split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from truevox.cli.running import say

__all__ = ["split"]


def split(
    cohort: Annotated[
        Path, typer.Argument(help="The cases: a table, or a folder of nnU-Net, of the Decathlon or of BIDS.")
    ],
    out: Annotated[Path, typer.Option(help="Table to write (CSV).")],
    folds: Annotated[int | None, typer.Option(min=2, help="Folds; 5 if left out.")] = None,
    shares: Annotated[
        str | None, typer.Option(metavar="NAME=SHARE,...", help="Splits instead of folds: train=0.8,val=0.2.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Column to balance by; can be given several times.")
    ] = None,
    foreground: Annotated[
        str | None, typer.Option(help="Label column: balance by the volume of its foreground.")
    ] = None,
    patient: Annotated[
        str | None, typer.Option(help="Column that says whose the cases are; the case itself if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is left to chance.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that read labels.")] = 1,
) -> None:
    """Deal patients out to folds or splits, evenly in number and in what they are balanced by.

    Cases in split 'test' stay there. `truevox train` takes a fold with --fold.
    """
    from truevox.cli.data import load_cohort
    from truevox.errors import SettingsError
    from truevox.progress import spinner

    if folds is not None and shares is not None:
        raise SettingsError(
            "Folds or shares, and not both.",
            got=f"--folds {folds} --shares {shares}",
            remedy="leave one of --folds and --shares out",
        )
    cases = load_cohort(cohort)
    columns = list(by or [])
    with spinner(f"Dealing out {len(cases)} cases"):
        if shares is not None:
            dealt = cases.with_splits(
                parsed(shares), by=columns, foreground=foreground, patient=patient, seed=seed, n_jobs=jobs
            )
        else:
            dealt = cases.with_folds(
                folds or 5, by=columns, foreground=foreground, patient=patient, seed=seed, n_jobs=jobs
            )
        dealt.to_csv(out)
    for name, note in cases.notes.items():
        say(f"Column '{name}': {note}.")
    part = "split" if shares is not None else "fold"
    counts: dict[str, int] = {}
    for case in dealt:
        fold = case.values.get("fold")
        name = str(case.split) if part == "split" or fold is None else f"fold {fold:g}"
        counts[name] = counts.get(name, 0) + 1
    say(", ".join(f"{name}: {counts[name]}" for name in sorted(counts)))


def parsed(text: str) -> dict[str, float]:
    """``train=0.8,val=0.2`` as a mapping.

    Raises
    ------
    SettingsError
        If it is none.
    """
    from truevox.errors import SettingsError

    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            found[name.strip()] = float(share)
        except ValueError as error:
            raise SettingsError(
                "Shares can't be understood.",
                got=text,
                expected="e.g. train=0.8,val=0.2",
                remedy="write name=number, with commas between the parts: --shares train=0.8,val=0.2",
            ) from error
    return found
