"""``truevox describe``: the graph of a recipe or of a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from truevox.model import Model

__all__ = ["describe", "load_model", "model_folder", "recipe_batch_size", "training_splits"]


def describe(
    what: Annotated[
        Path, typer.Argument(metavar="RECIPE|RUN", help="A recipe (YAML), or the folder of a run.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="The cases, table or folder: grids and memory are of one of them.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="The case; the first of the table if left out.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")
    ] = None,
) -> None:
    """Print every node with its grid, the network's field of view, and the memory of a prediction."""
    from truevox.errors import SettingsError

    if what.is_dir():
        if set_:
            raise SettingsError(
                "A trained model has no settings to change.",
                got=set_[0],
                remedy="leave --set out, or describe the recipe that the model was trained from",
            )
        model, batch_size = load_model(what), recipe_batch_size(what)
    else:
        from truevox.recipe import Recipe

        recipe = Recipe.from_yaml(what).with_overrides(set_ or [])
        model, batch_size = recipe.build(), recipe.predict.batch_size
    chosen = None
    if data is not None:
        from truevox.cli.data import load_cohort

        cohort = load_cohort(data)
        chosen = cohort[case] if case is not None else next(iter(cohort))
    elif case is not None:
        raise SettingsError("A case is one of a table.", got=case, remedy="give --data too")
    typer.echo(model.summary(chosen, batch_size))


def load_model(folder: Path) -> Model:
    """The model of a run, or of a folder that :meth:`truevox.Model.save` wrote.

    Raises
    ------
    FileError
        If there is none, or its files have changed.
    """
    from truevox.model import Model

    return Model.load(model_folder(folder))


def model_folder(folder: Path) -> Path:
    """Where the model of a run is.

    Raises
    ------
    FileError
        If there is none.
    """
    from truevox.errors import FileError

    for place in (folder / "model", folder):
        if (place / "graph.json").exists():
            return place
    begun = (folder / "recipe.yaml").exists()
    raise FileError(
        "The folder holds no trained model." + (" Its training has not finished." if begun else ""),
        file=folder,
        expected="model/graph.json",
        remedy="run `truevox train` again: it resumes"
        if begun
        else "give the --out folder of `truevox train`",
    )


def recipe_batch_size(run: Path) -> int | None:
    """Patches per batch as the recipe of the run says; None where it leaves that open."""
    from truevox.recipe import Recipe

    written = run / "recipe.yaml"
    return Recipe.from_yaml(written).predict.batch_size if written.exists() else None


def training_splits(run: Path) -> dict[str, str]:
    """Who trained and who validated, by id of the case; nothing where the run does not say."""
    from truevox.errors import FileError
    from truevox.files import read_json

    try:
        cases = read_json(run / "run.json")["cases"]
        keys = {name: cases.get(name) or [] for name in ("train", "val")}
        return {str(key).partition("/")[0]: name for name, listed in keys.items() for key in listed}
    except (FileError, KeyError, TypeError, AttributeError):
        return {}
