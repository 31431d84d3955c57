"""Conditions of the rules, in a line that can be read aloud: ``"boundary & !small | tubular"``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["holds", "terms"]


def terms(condition: str) -> Iterator[tuple[str, str, bool]]:
    """Key, value, and whether it shall be so, of every term of a condition.

    Examples
    --------
    >>> list(terms("boundary & ref_noise!=none | !small"))
    [('boundary', 'yes', True), ('ref_noise', 'none', False), ('small', 'yes', False)]
    """
    for choice in condition.split("|"):
        yield from map(_term, choice.split("&"))


def holds(condition: str, facts: Mapping[str, str]) -> bool:
    """Whether a condition is true of the facts; an empty one always is.

    ``|`` is or, ``&`` is and, and binds closer. A term is ``key`` (the answer is yes), ``!key`` (it is no or
    unknown), ``key=value`` or ``key!=value``.

    Raises
    ------
    KeyError
        If a term names no fact: a mistake in a table of rules.

    Examples
    --------
    >>> holds("boundary & !small | tubular", {"boundary": "yes", "small": "unknown", "tubular": "no"})
    True
    """
    if not condition:
        return True
    return any(
        all((facts[key] == value) is wanted for key, value, wanted in map(_term, choice.split("&")))
        for choice in condition.split("|")
    )


def _term(text: str) -> tuple[str, str, bool]:
    word = text.strip()
    if word.startswith("!"):
        return word[1:], "yes", False
    key, equals, value = word.partition("=")
    if not equals:
        return key, "yes", True
    return key.removesuffix("!"), value, not key.endswith("!")
