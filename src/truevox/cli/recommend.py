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
    if out is not None:
        write_settings(out, found)
    if save is not None:
        _write(save, _yaml(fingerprint.answers()))
    show(found, as_json=json, with_settings=out is None)
    for path, what in ((out, "Settings"), (save, "Answers")):
        if path is not None:
            say(f"{what}: {path}")


def _published(name: str) -> dict[str, Any]:
    from truevox.evaluation.recommend import PUBLISHED

    if name not in PUBLISHED:
        raise SettingsError("There is no such example.", got=name, expected=", ".join(PUBLISHED))
    return PUBLISHED[name].answers()


def interview(given: Mapping[str, Any]) -> dict[str, Any]:
    """Answers with those that the user gives now; only what matters is asked."""
    from truevox.evaluation.recommend import QUESTIONS, Fingerprint, open_questions

    answers = dict(given)
    if "category" not in answers:
        answers["category"] = put(QUESTIONS[0], {"category": None})
    Fingerprint.from_dict(answers)
    while (one := next(open_questions(Fingerprint.from_dict(answers).facts(), answers), None)) is not None:
        answers[one.key] = put(one, answers)
    return answers


def put(question: Question, answers: Mapping[str, Any]) -> Any:
    """Ask one question until its answer can be used; unknown is the default."""
    from rich.console import Console
    from rich.markup import escape
    from rich.prompt import Prompt

    from truevox.evaluation.recommend import Fingerprint, with_answer

    console = Console(stderr=True, highlight=False)
    hint = "/".join(question.choices) if question.choices else f"{question.example}, or unknown"
    needed = question.key == "category"
    while True:
        text = f"{escape(question.text)} [dim]({escape(hint)})[/dim]"
        default = "" if needed else "unknown"
        word = str(Prompt.ask(text, console=console, default=default, show_default=not needed)).strip()
        value = None if word == "unknown" else with_answer({}, f"{question.key}={word}")[question.key]
        try:
            Fingerprint.from_dict({**answers, question.key: value})
        except SettingsError as error:
            say(str(error))
            continue
        return value


def write_settings(path: Path, found: Recommendation) -> None:
    """The settings file, whole or not at all."""
    if not found.settings()["metrics"]:
        raise SettingsError(
            "There is nothing for truevox evaluate to compute.",
            got=f"category {found.fingerprint.category}",
            expected="detection, semantic or instance",
            remedy="leave out --out",
        )
    _write(path, found.settings_text())


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
