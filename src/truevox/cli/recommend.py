"""``truevox recommend``: which metrics a problem asks for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truevox.cli.running import say
from truevox.errors import SettingsError

if TYPE_CHECKING:
    from truevox.evaluation.recommend import Question, Recommendation

__all__ = ["recommend"]

BACK = "back"


def recommend(
    answers: Annotated[Path | None, typer.Option(help="YAML file of answers.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An answer; can be given several times."),
    ] = None,
    example: Annotated[
        str | None, typer.Option(help="Start from a published one: embryo, liver, neuron, instrument.")
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask what is not answered yet; so it is if nothing is.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the settings of `truevox evaluate` to this YAML file.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the answers to this YAML file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a page.")] = False,
) -> None:
    """Recommend metrics for a problem, from about twelve questions, with reasons and pitfalls.

    After Metrics Reloaded (Maier-Hein et al., 2024). `--out` writes the settings file of `truevox evaluate`.
    """
    from truevox.evaluation.recommend import Fingerprint, read_answers, with_answer
    from truevox.evaluation.recommend import recommend as recommended

    given: dict[str, Any] = _published(example) if example is not None else {}
    given |= read_answers(answers) if answers is not None else {}
    for assignment in change or ():
        given = with_answer(given, assignment)
    if ask or (not given and sys.stdin.isatty()):
        given = interview(given)
    elif not given:
        raise SettingsError(
            "There are no answers.",
            expected="--answers FILE, --set category=semantic, or --ask",
            remedy="truevox recommend --ask",
        )
    fingerprint = Fingerprint.from_dict(given, answers)
    found = recommended(fingerprint)
    show(found, as_json=json, with_settings=out is None)
    if save is not None:
        _write(save, _yaml(fingerprint.answers()))
        say(f"Answers: {save}")
    if out is not None and found.settings()["metrics"]:
        _write(out, found.settings_text())
        say(f"Settings: {out}")
    elif out is not None:
        say(f"No settings: {out} is not written, for truevox evaluate has none of these metrics.")


def _published(name: str) -> dict[str, Any]:
    from truevox.evaluation.recommend import PUBLISHED

    if name not in PUBLISHED:
        raise SettingsError(
            "There is no such example.",
            got=name,
            expected=", ".join(PUBLISHED),
            remedy="write --example with one of these names, or answer the questions with --ask",
        )
    return PUBLISHED[name].answers()


def interview(given: Mapping[str, Any]) -> dict[str, Any]:
    """Answers with those that the user gives now; only what matters is asked."""
    from truevox.evaluation.recommend import next_question

    answers, asked = dict(given), list[str]()
    say("Enter: unknown. ?: what a question is for. back: to the one before. quit, or Ctrl-C: end.\n")
    while (question := next_question(answers)) is not None:
        word = put(question, answers)
        if word != BACK:
            answers[question.key] = word
            asked.append(question.key)
        elif asked:
            del answers[asked.pop()]
        else:
            say("This is the first question.")
    return answers


def put(question: Question, answers: Mapping[str, Any]) -> str:
    """Ask one question until its answer can be used, or is ``back``; unknown is the default."""
    from rich.console import Console
    from rich.markup import escape
    from rich.prompt import Prompt

    from truevox.evaluation.recommend import Fingerprint

    console = Console(stderr=True, highlight=False)
    hint = "/".join(question.choices) if question.choices else f"{question.example}, or unknown"
    needed = question.key == "category"
    text = f"{escape(question.text)} [dim]({escape(hint)})[/dim]"
    default = "" if needed else "unknown"
    while True:
        try:
            word = str(Prompt.ask(text, console=console, default=default, show_default=not needed)).strip()
        except EOFError:
            raise SettingsError(
                "The answers ended before the questions did.",
                got=", ".join(answers) or "no answer",
                expected=question.text,
                remedy="give answers by --set KEY=VALUE or --answers FILE, without --ask",
            ) from None
        if word.lower() in ("?", "help"):
            say(question.help)
        elif word.lower() in (BACK, "b", "<"):
            return BACK
        elif word.lower() in ("quit", "q", "exit"):
            raise typer.Abort
        else:
            value = question.complete(word)
            try:
                Fingerprint.from_dict({**answers, question.key: value})
            except SettingsError as error:
                unknown = "" if needed else "; Enter leaves it unknown"
                say(f"{error}\n  Remedy: ? explains the question{unknown}.")
            else:
                return value


def _write(path: Path, text: str) -> None:
    from truevox.files import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _yaml(data: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True)


def show(found: Recommendation, *, as_json: bool, with_settings: bool) -> None:
    """The page on standard output, as wide as the terminal but no wider than is readable; or JSON."""
    if as_json:
        from json import dumps

        typer.echo(dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    import shutil

    width = max(40, min(shutil.get_terminal_size((100, 24)).columns, 110))
    typer.echo(found.explain(width))
    if with_settings and found.settings()["metrics"]:
        typer.echo(
            f"\nSettings of truevox evaluate (--out FILE writes them)\n\n{_yaml(found.settings())}", nl=False
        )
