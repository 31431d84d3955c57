"""The report: one HTML file that works offline."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from truevox.errors import SettingsError
from truevox.evaluation.comparison.missing import RULES, Missing
from truevox.files import atomic_path, software
from truevox.report.bland_altman import agreements
from truevox.report.comparison import read_comparison
from truevox.report.data import page_data, safe_json
from truevox.report.definitions import meanings
from truevox.report.folder import Folder, read_folders
from truevox.report.gallery import Exhibit, gallery
from truevox.report.headline import headline
from truevox.report.lesions import detections
from truevox.report.origins import origins
from truevox.report.provenance import provenance
from truevox.report.words import interval, metric_title, number

__all__ = ["write_report"]

_HERE = Path(__file__).parent
_SCRIPTS = ("core", "tables", "distributions", "cases", "lesions", "agreement", "viewer", "start")
_PROBABILITY = ("ece", "brier", "nll", "soft_dice", "auroc", "average_precision")


def write_report(
    path: str | Path,
    evaluations: Mapping[str, str | Path],
    *,
    comparison: str | Path | None = None,
    title: str = "Segmentation report",
    cases_in_viewer: int = 6,
    worst: int = 5,
) -> None:
    """Write what evaluations say as one HTML file that needs no network.

    Parameters
    ----------
    path : path
        The file to write, e.g. ``report.html``.
    evaluations : mapping of method to folder
        Folders that ``truevox evaluate`` wrote; the first is listed first.
    comparison : path, optional
        Folder that ``truevox compare`` wrote.
    title : str
    cases_in_viewer : int
        How many of the worst cases can be opened in three dimensions; 0 leaves the viewer out, which makes
        the file 1 MB smaller.
    worst : int
        How many cases of each method, structure and metric are drawn, up to 60 in all; 0 draws none.

    Raises
    ------
    FileError
        If a folder lacks ``metrics.csv`` or ``summary.json``, a table is damaged, or the report can't be
        written.
    SettingsError
        If there is no evaluation, or a number is negative.

    Notes
    -----
    A case whose files can't be opened has its numbers, and the page says why it has no picture. The page
    forbids itself every request by its content security policy, and shows names as text, whatever they hold.

    Examples
    --------
    >>> write_report("report.html", {})
    Traceback (most recent call last):
    truevox.errors.SettingsError: A report needs an evaluation.
      expected  {"method": folder of `truevox evaluate`}
      Remedy: name at least one folder that truevox evaluate wrote
    """
    if not evaluations:
        raise SettingsError(
            "A report needs an evaluation.",
            expected='{"method": folder of `truevox evaluate`}',
            remedy="name at least one folder that truevox evaluate wrote",
        )
    for name, value in (("cases_in_viewer", cases_in_viewer), ("worst", worst)):
        if value < 0:
            raise SettingsError(
                f"{name} is a number of cases.",
                got=value,
                expected="0 or more",
                remedy=f"write {name}=0 to show none",
            )
    folders = read_folders(evaluations)
    text = _render(folders, comparison, title, cases_in_viewer, worst)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _render(
    folders: Sequence[Folder], comparison: str | Path | None, title: str, cases_in_viewer: int, worst: int
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    compared = None if comparison is None else read_comparison(comparison)
    missing: Missing = "drop" if compared is not None and compared.missing == "drop" else "worst"
    if compared is not None:
        folders = [replace(one, patients=one.patients | compared.patients) for one in folders]
    shown = gallery(folders, worst, cases_in_viewer)
    agreed = agreements(folders)
    volumes = _volumes(shown.exhibits)
    script = "".join(_asset(f"{name}.js") for name in _SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}}})();\n'
    style = _asset("report.css")
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, metric=metric_title, interval=interval)
    return environment.get_template("report.html.j2").render(
        title=title,
        software=software(),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        policy=_policy([script, *([_asset("niivue.umd.js")] if volumes else [])], style),
        script=script,
        style=style,
        niivue=_niivue() if volumes else "",
        data=safe_json(page_data(folders, shown.exhibits, agreed)),
        volumes=safe_json(volumes),
        folders=folders,
        methods=[folder.method for folder in folders],
        cases=len({one.case for folder in folders for one in folder.scores}),
        structures=list(
            dict.fromkeys(f.structure(one.output, one.label) for f in folders for one in f.scores)
        ),
        headline=headline(folders, missing),
        missing_rule=RULES[missing],
        gallery=shown,
        detections=detections(folders),
        agreements=agreed,
        left_out_volumes=sum(one.left_out for one in agreed),
        origins=origins(folders),
        probabilities=_probabilities(folders),
        comparison=compared,
        meanings=meanings(folders),
        provenance=[provenance(folder) for folder in folders],
        third_party=_asset("THIRD_PARTY.md"),
    )


def _volumes(exhibits: Sequence[Exhibit]) -> list[dict[str, Any]]:
    """What the viewer opens, with the position of the exhibit it belongs to."""
    return [
        {"exhibit": position, **one.volumes.as_data()}
        for position, one in enumerate(exhibits)
        if one.volumes is not None
    ]


def _probabilities(folders: Sequence[Folder]) -> list[tuple[str, str]]:
    """Name and definition of the metrics of probabilities in the tables."""
    found = {one.metric: one.definition for folder in folders for one in folder.scores}
    return [(name, key) for name, key in found.items() if name.split("/")[0].split("@")[0] in _PROBABILITY]


def _policy(scripts: Sequence[str], style: str) -> str:
    """Content security policy: no request leaves the page, and only these scripts run in it."""
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(map(_digest, scripts)),
        "style-src": _digest(style),
        "img-src": "data: blob:",
        "connect-src": "data: blob:",
        "worker-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(text: str) -> str:
    found = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{found}'"


@cache
def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


@cache
def _niivue() -> str:
    """The viewer, gzipped, in base64: the page unpacks it when the first case is opened."""
    packed = gzip.compress(_asset("niivue.umd.js").encode("utf-8"), 9, mtime=0)
    return base64.b64encode(packed).decode("ascii")
