"""Recommend: the metrics that a problem asks for, with reasons."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import yaml

from truevox.evaluation.recommend.catalogue import computed, entry, stem
from truevox.evaluation.recommend.conditions import holds
from truevox.evaluation.recommend.fingerprint import Fingerprint
from truevox.evaluation.recommend.notes import AGGREGATION, PITFALLS, WARNINGS, Note
from truevox.evaluation.recommend.rules import ASSIGNMENT, INSTEAD, LOCALISATION, METRICS, Choice, Slot
from truevox.files import software

__all__ = ["Recommendation", "Recommended", "recommend"]

STAND_INS = ("lesion_f1", "lesion_sensitivity", "lesion_precision")
DEFAULT_RULE = "iou@0.5/optimal"
CATEGORIES = {
    "classification": "image classification",
    "detection": "object detection",
    "semantic": "semantic segmentation",
    "instance": "instance segmentation",
}


class Recommended(NamedTuple):
    """A metric by name, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Recommendation:
    """Metrics for a problem.

    Parameters
    ----------
    fingerprint : Fingerprint
        The answers.
    metrics : tuple of (name, why)
        Names as ``truevox evaluate`` takes them, or, where it has no such metric (:meth:`elsewhere`), a name
        that says what is meant.
    localisation, assignment, double_detections : str
        When an object is found, by which of several candidates, and what the others are; empty if the problem
        has no objects.
    rule : str
        The matching rule of ``truevox evaluate`` nearest to that.
    warnings, pitfalls, aggregation : tuple of str
        What to mind; what the metrics avoid; how to average.
    instead : Recommendation, optional
        That of a category which fits the answers better.
    instead_why : str
        Why.
    """

    fingerprint: Fingerprint
    metrics: tuple[Recommended, ...]
    localisation: str
    assignment: str
    double_detections: str
    rule: str
    warnings: tuple[str, ...]
    pitfalls: tuple[str, ...]
    aggregation: tuple[str, ...]
    instead: Recommendation | None = None
    instead_why: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(one.name for one in self.metrics)

    def elsewhere(self) -> dict[str, str]:
        """Metrics that ``truevox evaluate`` has not, and where they come from."""
        return {name: entry(name).elsewhere for name in self.names if not computed(name)}

    def settings(self) -> dict[str, Any]:
        """Settings of ``truevox evaluate``: metrics that it has, of this category and of the better one.

        Objects are matched, and listed in lesions.csv, even if all their metrics come from elsewhere; F1,
        sensitivity and precision then stand in. No metric at all is left of an image classification.
        """
        both = [self] if self.instead is None else [self, self.instead]
        names = [name for one in both for name in one.names if computed(name)]
        rule = next((one.rule for one in both if one.rule), "")
        if rule and not any(stem(name).startswith("lesion_") for name in names):
            names += [f"{name}{_variant(rule)}" for name in STAND_INS]
        out: dict[str, Any] = {"metrics": list(dict.fromkeys(names))}
        if rule:
            out["lesions"] = {"rule": rule}
        out["empty"] = {"both": "undefined", "missed": "worst", "spurious": "worst"}
        out["missing"] = "worst"
        return out

    def settings_text(self) -> str:
        """The settings as YAML, with the answers and reasons as comments."""
        answers = ", ".join(f"{key} {value}" for key, value in self.fingerprint.answers().items())
        lines = [f"Settings of truevox evaluate, recommended by {software()} for: {answers}"]
        both = [self] if self.instead is None else [self, self.instead]
        lines += dict.fromkeys(f"{name}: {why}" for one in both for name, why in one.metrics)
        head = "\n".join(f"# {line}" for line in lines)
        return f"{head}\n{yaml.safe_dump(self.settings(), sort_keys=False, allow_unicode=True)}"

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        outside = self.elsewhere()
        return {
            "fingerprint": self.fingerprint.answers(),
            "metrics": [
                {
                    "name": name,
                    "title": entry(name).title,
                    "why": why,
                    "computed": name not in outside,
                    "elsewhere": outside.get(name, ""),
                }
                for name, why in self.metrics
            ],
            "localisation": self.localisation,
            "assignment": self.assignment,
            "double_detections": self.double_detections,
            "warnings": list(self.warnings),
            "pitfalls": list(self.pitfalls),
            "aggregation": list(self.aggregation),
            "settings": self.settings(),
            "instead_why": self.instead_why,
            "instead": None if self.instead is None else self.instead.as_dict(),
        }

    def explain(self, width: int = 100) -> str:
        """A page to read.

        Parameters
        ----------
        width : int
            Longest line, in characters.
        """
        return self._page(width, set())

    def _page(self, width: int, said: set[str]) -> str:
        """The page without what another one said above it."""
        outside = self.elsewhere()
        metrics = [
            f"{name} ({entry(name).title}): {why}."
            + (f" Not of truevox evaluate: {outside[name]}." if name in outside else "")
            for name, why in self.metrics
        ]
        objects = [
            f"{what}: {text}."
            for what, text in (
                ("Found if", self.localisation),
                ("Partner", self.assignment),
                ("Double detections", self.double_detections),
            )
            if text
        ]
        sections = {
            "Metrics": metrics,
            "Objects": objects,
            "Warnings": self.warnings,
            "Pitfalls avoided": self.pitfalls,
            "Averages": self.aggregation,
        }
        page = [f"Metrics for {CATEGORIES[self.fingerprint.category]}"]
        for title, entries in sections.items():
            if new := [text for text in entries if text not in said]:
                page += ["", title, *(_item(text, width) for text in new)]
        if self.instead is not None:
            better = CATEGORIES[self.instead.fingerprint.category]
            page += ["", _wrapped(f"Better: {better}. {_sentence(self.instead_why)}", width), ""]
            page.append(self.instead._page(width, {*self.warnings, *self.pitfalls, *self.aggregation}))
        return "\n".join(page)


def recommend(fingerprint: Fingerprint) -> Recommendation:
    """The metrics that a problem asks for.

    Parameters
    ----------
    fingerprint : Fingerprint
        Answers about the problem.

    Returns
    -------
    Recommendation
        At least one metric, each legal for the category.

    References
    ----------
    Maier-Hein et al. (2024), Metrics reloaded: recommendations for image analysis validation.
    Reinke et al. (2024), Understanding metric-related pitfalls in image analysis validation.

    Examples
    --------
    >>> recommend(Fingerprint(category="semantic", boundary=True, volume=True)).names
    ('dice', 'nsd@1mm', 'absolute_volume_difference_ml')
    """
    facts = fingerprint.facts()
    initial = facts["category"][0]
    found, partner = _chosen(LOCALISATION, initial, facts), _chosen(ASSIGNMENT, initial, facts)
    rule = _rule(found.what, partner.what)
    words = {
        "tolerance": _decimal(fingerprint.tolerance_mm or _placeholder(fingerprint)),
        "surface": "/surfel" if facts["anisotropic"] == "yes" else "",
        "target": "" if fingerprint.target is None else f"@{fingerprint.target.replace('@', '=')}",
        "rule": _variant(rule),
    }
    chosen = [_chosen(slot, initial, facts) for slot in METRICS]
    better = _chosen(INSTEAD, initial, facts)
    other = fingerprint.model_copy(update={"category": better.what}) if better.what else None
    return Recommendation(
        fingerprint,
        tuple(
            Recommended(one.what.format_map(words), one.why.format_map(words)) for one in chosen if one.what
        ),
        found.why,
        partner.why,
        "false positives" if rule else "",
        rule,
        *(_said(notes, initial, facts, words) for notes in (WARNINGS, PITFALLS, AGGREGATION)),
        instead=None if other is None else recommend(other),
        instead_why=better.why,
    )


def _chosen(slot: Slot, initial: str, facts: dict[str, str]) -> Choice:
    if initial not in slot.categories:
        return Choice("", "")
    return next(one for one in slot.choices if holds(one.when, facts))


def _said(
    notes: tuple[Note, ...], initial: str, facts: dict[str, str], words: dict[str, str]
) -> tuple[str, ...]:
    return tuple(
        note.text.format_map(words)
        for note in notes
        if initial in note.categories and holds(note.when, facts)
    )


def _rule(found: str, partner: str) -> str:
    if found in ("", "any"):
        return found  # an object may be touched by several: there is no partner
    # Above half of the union no second object competes, and the rule need not ask for scores.
    return f"{found}/{'optimal' if found == 'iou@0.5' else partner}"


def _variant(rule: str) -> str:
    return "" if rule in ("", DEFAULT_RULE) else f"/{rule}"


def _placeholder(fingerprint: Fingerprint) -> float:
    """The longest edge of a voxel, if known, else 1 mm: outlines can't be drawn better than that."""
    return max(fingerprint.spacing) if fingerprint.spacing is not None else 1.0


def _decimal(number: float) -> str:
    """Digits without an exponent, which ids do not have."""
    return np.format_float_positional(number, trim="-")


def _item(text: str, width: int) -> str:
    return _wrapped(text, width, "  * ", "    ")


def _wrapped(text: str, width: int, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
