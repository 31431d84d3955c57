"""``truevox train``: a model from a cohort, by a recipe or by one that is planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truevox.cli.running import say, say_remarks

if TYPE_CHECKING:
    from truevox.cohort import Cohort
    from truevox.model import Model
    from truevox.progress import Advance
    from truevox.recipe import Recipe

__all__ = ["train"]

MAY_CHANGE = ("train.max_steps", "train.max_epochs", "train.val_every", "train.checkpoint_every")
"""Keys of a recipe that a run which resumes may have anew; fewer steps are refused when it resumes."""


def train(
    what: Annotated[
        list[Path],
        typer.Argument(
            metavar="[RECIPE] [COHORT]",
            help="The cases: a table, or a folder of nnU-Net, of the Decathlon or of BIDS. "
            "Before it, what to learn and how (YAML); planned from the cases if left out.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the run. If it holds one with the same recipe, that resumes.")
    ],
    data: Annotated[Path | None, typer.Option(help="The cases, if not given as an argument.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a key of the recipe; can be given several times."
        ),
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Fold that validates: of column 'fold', or splits_final.json.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that prepare samples; does not change any of them.")
    ] = None,
) -> None:
    """Train on the split 'train', and validate on 'val' by predicting whole scans.

    Cases without a split are dealt out: a fifth of the patients validates. Without a recipe, one is planned
    from the data and written to recipe.yaml.
    Writes model/ (graph, weights), recipe.yaml (all defaults), cohort.csv (who trained), history.csv,
    checkpoint.pt, run.json.
    """
    from truevox.cli.data import described_by, expect_columns, expect_sound, load_cohort, only
    from truevox.cli.record import recorded

    written, source = arguments(what, data)
    everyone = load_cohort(source, fold=fold)
    from truevox.devices import resolve_device

    chosen = str(resolve_device(device))
    settings = recipe_for(written, everyone, out, set_ or [], chosen)
    expect_columns(everyone, settings.needs, source)
    everyone = dealt(everyone, settings.needs)
    learn = only(everyone, "train", source)
    val = everyone.split("val") if "val" in everyone.splits else None
    started = (out / "checkpoint.pt").exists() or (out / "model" / "graph.json").exists()
    if started:
        expect_same(settings, out)
    for part in (learn, val):
        if part is not None:
            tables = {settings.label: settings.table}
            expect_sound(
                part, settings.needs, align=settings.align, channels=settings.channels, labels=tables
            )
    options = settings.fit_options()
    if workers is not None:
        options["workers"] = workers
    inputs = ({"recipe": written} if written is not None else {}) | described_by(source)
    resolved = {"recipe": settings.resolved(), "device": chosen, "workers": options["workers"]}
    # What can't run must leave no trace: it would stand in the way of what can, or replace what was there.
    model = settings.build()
    model.fit(learn, val, out=out, device=chosen, check_only=True, **options)
    with recorded(out / "run.json", "train", resolved, inputs) as record:
        record.update(recipe_sha256=settings.digest, seed=settings.train.seed)
        settings.to_yaml(out / "recipe.yaml")
        everyone.to_csv(out / "cohort.csv", settings.needs)
        run(model, learn, val, out, chosen, options, record)


def arguments(what: list[Path], data: Path | None) -> tuple[Path | None, Path]:
    """The recipe, if one is given, and the cohort.

    Raises
    ------
    SettingsError
        If it is not one cohort and at most one recipe.
    """
    from truevox.errors import SettingsError

    given = [*what, *([data] if data is not None else [])]
    if len(given) == 1 and given[0].suffix.lower() not in (".yaml", ".yml"):
        return None, given[0]
    if len(given) == 2:
        return given[0], given[1]
    raise SettingsError(
        "Training takes a cohort, and before it a recipe if there is one.",
        got=" ".join(map(str, given)),
        expected="truevox train COHORT --out run/, or truevox train RECIPE COHORT --out run/",
        remedy="name the cohort last, and a recipe before it; options come with their name, e.g. --out run/",
    )


def recipe_for(written: Path | None, cohort: Cohort, out: Path, changes: list[str], device: str) -> Recipe:
    """The recipe that is given; else that of the run which resumes; else one planned from the cohort."""
    from truevox.progress import spinner
    from truevox.recipe import Recipe, plan

    if written is not None:
        return Recipe.from_yaml(written).with_overrides(changes)
    if (out / "recipe.yaml").exists():
        say(f"The recipe is that of the run: {out / 'recipe.yaml'}.")
        return Recipe.from_yaml(out / "recipe.yaml").with_overrides(changes)
    with spinner("Looking at the cohort"):
        recipe, why = plan(cohort, changes, memory=memory_of(device))
    for sentence in why:
        say(sentence)
    say(f"The recipe planned for them is {out / 'recipe.yaml'}.")
    return recipe


def memory_of(device: str) -> int | None:
    """Bytes of an accelerator; None for a processor."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_properties(torch.device(device)).total_memory
    return torch.mps.recommended_max_memory() if device == "mps" else None


def dealt(cohort: Cohort, needs: list[str]) -> Cohort:
    """The cohort with splits: where no case is said to train, a fifth of the patients validates."""
    from truevox.cohort import Cohort

    free = [case for case in cohort if case.split is None]
    if not free or "train" in cohort.splits:
        return cohort
    usable = [case for case in free if all(case.has(name) for name in needs)]
    if missing := len(free) - len(usable):
        say(f"{missing} of {len(free)} cases lack an image or the label, and are left out.")
    if not usable:
        return cohort
    many = "val" not in cohort.splits and len({case.id for case in usable}) > 1
    learners = Cohort(usable).with_splits({"train": 0.8, "val": 0.2} if many else {"train": 1.0})
    counts = {name: sum(case.split == name for case in learners) for name in learners.splits}
    say(
        f"Splits, dealt out by patient: {', '.join(f'{n} {name}' for name, n in counts.items())}. "
        "A column 'split' in a table decides otherwise."
    )
    return Cohort([*learners, *(case for case in cohort if case.split is not None)])


def expect_same(recipe: Recipe, out: Path) -> None:
    """Refuse a folder that holds a run with another recipe. A start that failed before it trained is none.

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
    different = [
        change for change in recipe.differences(before) if change.partition(":")[0] not in MAY_CHANGE
    ]
    if not different:
        return
    raise SettingsError(
        "The folder holds a run with another recipe.",
        file=out,
        got="; ".join(different[:6]) + ("; ..." if len(different) > 6 else ""),
        expected="the recipe of the run, to resume it; more steps are allowed",
        remedy="choose another --out, or delete the folder to start anew",
    )


def run(
    model: Model,
    learn: Cohort,
    val: Cohort | None,
    out: Path,
    device: str,
    options: dict[str, Any],
    record: dict[str, Any],
) -> None:
    """Fit and save."""
    from truevox.progress import progress

    resumed = (out / "checkpoint.pt").exists()
    say(
        f"{'Resuming' if resumed else 'Training'} on {len(learn)} cases, "
        f"validating on {len(val) if val else 0}, device {device}."
    )
    if options.get("precision") == "auto" and not resumed:
        say("Precision auto: where bfloat16 could gain, a few steps of both are timed first.")
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
    shown = [f"{key} {value:.4g}" for key, value in last.items() if key.startswith("loss") or "dice" in key]
    say(f"Done: step {last['step']:.0f}, {', '.join(shown)}. The model is in {out / 'model'}.")
    say_volumes(model)


def say_volumes(model: Model) -> None:
    """How far the expected volumes of each label can be trusted, as predictions of the model will say."""
    for output, origin in model.origins.items():
        for label in origin.bias:
            say(f"Expected volume, {output}/{label}: {origin.note(label, 'expected')}.")


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
