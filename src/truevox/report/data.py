"""The numbers of a report as one compact object for the scripts of the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from truevox.report.bland_altman import Agreement
from truevox.report.folder import Folder
from truevox.report.gallery import Exhibit
from truevox.report.lesions import LESION_COLUMNS, lesion_rows
from truevox.report.words import metric_title, plain
from truevox.report.worst import better, flags

__all__ = ["page_data", "safe_json"]

_STATUS = {"ok": "o", "undefined": "u", "missed": "m", "spurious": "s", "failed": "f"}


def safe_json(data: Any) -> str:
    r"""JSON that can stand inside a script element, whatever its strings hold.

    Examples
    --------
    >>> safe_json({"case": "</script>"})
    '{"case":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def page_data(
    folders: Sequence[Folder], exhibits: Sequence[Exhibit], agreements: Sequence[Agreement]
) -> dict[str, Any]:
    """Columns of numbers by method, structure and metric; cases by index.

    Returns
    -------
    dict
        ``series`` holds ``{m, s, k, values, status}``: value and status of every case, None and ``"-"`` for
        a case without a row.
    """
    scores = [one for folder in folders for one in folder.scores]
    cases = {name: k for k, name in enumerate(dict.fromkeys(one.case for one in scores))}
    names = (folder.structure(one.output, one.label) for folder in folders for one in folder.scores)
    structures = {name: k for k, name in enumerate(dict.fromkeys(names))}
    named = {one.metric: one for one in reversed(scores)}
    metrics = {name: k for k, name in enumerate(dict.fromkeys(one.metric for one in scores))}
    return {
        "methods": [folder.method for folder in folders],
        "structures": list(structures),
        "metrics": [
            {
                "name": name,
                "title": metric_title(name),
                "unit": named[name].unit,
                "better": better(name, named[name].definition),
            }
            for name in metrics
        ],
        "cases": list(cases),
        "series": _series(folders, cases, structures, metrics),
        "flags": _flags(folders, cases, structures),
        "exhibits": [
            [one.method, structures[one.structure], cases[one.case], one.volumes is not None]
            for one in exhibits
        ],
        "lesions": _lesions(folders, cases, structures),
        "agreement": [
            {
                "m": one.method,
                "s": structures[one.structure],
                "cases": [cases[name] for name in one.cases],
                "mean": [plain(x) for x in one.mean_ml.tolist()],
                "difference": [plain(x) for x in one.difference_ml.tolist()],
                "lines": [plain(x) for x in one.lines],
            }
            for one in agreements
        ],
    }


def _series(
    folders: Sequence[Folder], cases: dict[str, int], structures: dict[str, int], metrics: dict[str, int]
) -> list[dict[str, Any]]:
    series: dict[tuple[int, int, int], tuple[list[float | None], list[str]]] = {}
    for number, folder in enumerate(folders):
        for one in folder.scores:
            key = (number, structures[folder.structure(one.output, one.label)], metrics[one.metric])
            if key not in series:
                series[key] = ([None] * len(cases), ["-"] * len(cases))
            values, status = series[key]
            values[cases[one.case]] = plain(one.value)
            status[cases[one.case]] = _STATUS.get(one.status, "u")
    return [
        {"m": m, "s": s, "k": k, "values": values, "status": "".join(status)}
        for (m, s, k), (values, status) in series.items()
    ]


def _flags(folders: Sequence[Folder], cases: dict[str, int], structures: dict[str, int]) -> list[list[Any]]:
    return [
        [number, structures[folder.structure(output, label)], cases[case], words]
        for number, folder in enumerate(folders)
        for (case, output, label), words in flags(folder).items()
    ]


def _lesions(folders: Sequence[Folder], cases: dict[str, int], structures: dict[str, int]) -> dict[str, Any]:
    rows, left_out = lesion_rows(folders)
    for row in rows:
        # A lesion may lie in a case or structure without scores: it keeps its name then.
        row[1] = cases.get(row[1], row[1])
        row[2] = structures.get(row[2], row[2])
    return {"columns": LESION_COLUMNS, "rows": rows, "left_out": left_out}
