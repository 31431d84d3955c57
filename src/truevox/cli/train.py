"""``truevox train``: a model from a recipe and a cohort."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truevox.cli.running import say, say_remarks

if TYPE_CHECKING:
    from truevox.cohort import Cohort
    from truevox.progress import Advance
    from truevox.recipe import Recipe

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(help="What to learn, and how (YAML).")],
    data: Annotated[
        Path, typer.Option(help="Table of the cases (CSV) with splits 'train' and, optionally, 'val'.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the run. If it holds one with the same recipe, that resumes.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a key of the recipe; can be given several times."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that prepare samples; does not change any of them.")
    ] = None,
) -> None:
    """Train the recipe on the split 'train', and validate on 'val' by predicting whole scans.

    Writes model/ (graph, weights), recipe.yaml (all defaults), history.csv, checkpoint.pt, run.json.
    """
    from truevox.cli.data import expect_columns, expect_sound, load_cohort
    from truevox.cli.record import recorded
    from truevox.recipe import Recipe

    settings = Recipe.from_yaml(recipe).with_overrides(set_ or [])
    everyone = load_cohort(data)
    expect_columns(everyone, settings.needs, data)
    learn = load_cohort(data, "train")
    val = load_cohort(data, "val") if "val" in everyone.splits else None
    from truevox.devices import resolve_device

    chosen = str(resolve_device(device))
    expect_same(settings, out)
    for part in (learn, val):
        if part is not None:
            expect_sound(part, settings.needs, align=settings.align)
    options = settings.fit_options()
    if workers is not None:
        options["workers"] = workers
    inputs = {"recipe": recipe, "cohort": data}
    resolved = {"recipe": settings.resolved(), "device": chosen, "workers": options["workers"]}
    with recorded(out / "run.json", "train", resolved, inputs) as record:
        record.update(recipe_sha256=settings.digest, seed=settings.train.seed)
        settings.to_yaml(out / "recipe.yaml")
        run(settings, learn, val, out, chosen, options, record)


def expect_same(recipe: Recipe, out: Path) -> None:
    """Refuse a folder that holds a run with another recipe.

    Raises
    ------
    SettingsError
        Naming the keys that differ.
    """
    from truevox.errors import SettingsError
    from truevox.recipe import Recipe

    written = out / "recipe.yaml"
    if not written.exists():
        return
    before = Recipe.from_yaml(written)
    if before.digest == recipe.digest:
        return
    different = recipe.differences(before)
    raise SettingsError(
        "The folder holds a run with another recipe.",
        file=out,
        got="; ".join(different[:6]) + ("; ..." if len(different) > 6 else ""),
        expected="the recipe of the run, to resume it",
        remedy="choose another --out, or delete the folder to start anew",
    )


def run(
    recipe: Recipe,
    learn: Cohort,
    val: Cohort | None,
    out: Path,
    device: str,
    options: dict[str, Any],
    record: dict[str, Any],
) -> None:
    """Build, fit, save."""
    from truevox.progress import progress

    model = recipe.build()
    resumed = (out / "checkpoint.pt").exists()
    say(
        f"{'Resuming' if resumed else 'Training'} on {len(learn)} cases, "
        f"validating on {len(val) if val else 0}, device {device}."
    )
    with progress("Training", options["max_steps"]) as advance:
        history = model.fit(learn, val, out=out, device=device, report=reporter(advance), **options)
    model.save(out / "model")
    last = {key: value for row in history for key, value in row.items() if not key.endswith("/undefined")}
    record.update(
        cases={"train": [c.key for c in learn], "val": [c.key for c in val] if val else []},
        resumed=resumed,
        last=last,
        remarks=dict(model.remarks),
    )
    say_remarks(model.remarks)
    shown = ", ".join(f"{key} {value:.4g}" for key, value in last.items() if key != "learning_rate")
    say(f"Done: {shown}. The model is in {out / 'model'}.")


def reporter(advance: Advance) -> Callable[[dict[str, Any]], None]:
    """What the trainer calls now and then: moves the bar."""
    seen: dict[str, float] = {}

    def report(row: dict[str, Any]) -> None:
        seen.update({key.removeprefix("val/"): value for key, value in row.items() if "undefined" not in key})
        words = [
            f"{key} {value:.3f}" for key, value in seen.items() if key == "loss" or key.endswith("/dice")
        ]
        advance(float(row["step"]), "  ".join(words))

    return report
