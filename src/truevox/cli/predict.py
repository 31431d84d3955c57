"""``truevox predict``: label maps, volumes and, if asked, probabilities, on each scan's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from truevox.cli.running import SOME_FAILED, say, say_remarks

if TYPE_CHECKING:
    from truevox.cli.predictions import Target
    from truevox.cohort import Case
    from truevox.model import Model

__all__ = ["FAILURES", "predict", "write_failures"]

FAILURES = ("case", "node", "file", "message", "remedy")
"""Columns of ``failures.csv``."""


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the predictions. Cases that are there already are skipped.")
    ],
    cohort: Annotated[
        Path | None,
        typer.Argument(help="The cases: a table, or a folder of nnU-Net, of the Decathlon or of BIDS."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The cases, if not given as an argument.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Only the cases of this split; as in training, if the cohort has no splits."),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write probabilities too: <output>_probabilities.nii.gz.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Patches that go through the network together.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict again what is there.")] = False,
) -> None:
    """Predict scans, each on its own grid.

    Writes <case>/<output>.nii.gz (the decided labels), <case>/volumes.json (expected volumes and those of the
    labels), labels.json, run.json and, if a case failed, failures.csv.
    """
    from truevox.cli.data import described_by, expect_columns, load_cohort, one_cohort, only
    from truevox.cli.describe import load_model, model_folder, recipe_batch_size, training_splits
    from truevox.cli.predictions import Target
    from truevox.cli.record import recorded, sha256

    source = one_cohort(cohort, data)
    everyone = load_cohort(source)
    splits = training_splits(run)
    if "train" not in everyone.splits:
        everyone = everyone.assigned(splits)
    chosen = everyone if split is None else only(everyone, split, source)
    model = load_model(run)
    expect_columns(chosen, model.inputs, source)
    from truevox.devices import resolve_device

    graph = model_folder(run) / "graph.json"
    target = Target(out, model, sha256(graph), probabilities)
    size = batch_size or recipe_batch_size(run)
    settings = {
        "model": str(run), "split": split, "probabilities": probabilities, "batch_size": size,
        "device": str(resolve_device(device)), "overwrite": overwrite,
    }  # fmt: skip
    todo = [case for case in chosen if overwrite or not target.holds(case)]
    inputs = described_by(source) | {"graph": graph}
    with recorded(out / "run.json", "predict", settings, inputs) as record:
        record["cases"] = [case.key for case in chosen]
        record["splits"] = splits
        target.write_labels()
        tell_memory(model, todo, size, len(chosen) - len(todo))
        failures = each(model, todo, target, size, settings["device"])
        record.update(failed=[row["case"] for row in failures], remarks=dict(model.remarks))
        write_failures(out / "failures.csv", failures, FAILURES)
    say_remarks(model.remarks)
    say(f"{len(todo) - len(failures)} of {len(todo)} cases predicted. The results are in {out}.")
    if failures:
        say(f"{len(failures)} failed, see {out / 'failures.csv'}")
        raise typer.Exit(SOME_FAILED)


def tell_memory(model: Model, todo: list[Case], batch_size: int, skipped: int) -> None:
    """State what the largest scan will need, before the run."""
    from truevox.errors import TrueVoxError

    if skipped:
        say(f"{skipped} cases are predicted already.")
    largest: tuple[int, Case] | None = None
    for case in todo:
        try:
            shape = case.header(model.inputs[0]).grid.shape
        except TrueVoxError:
            continue  # it fails, and is listed, when its turn comes
        voxels = shape[0] * shape[1] * shape[2]
        if largest is None or voxels > largest[0]:
            largest = (voxels, case)
    if largest is None:
        return
    try:
        need = model.memory(largest[1], batch_size)
    except TrueVoxError:
        return
    parts = ", ".join(f"{name} {mebibytes(size)}" for name, size in need.items() if name != "total")
    say(
        f"Memory for the largest of {len(todo)} scans ({largest[1].key}): about "
        f"{mebibytes(need['total'])} MiB ({parts}) and what PyTorch itself takes."
    )


def mebibytes(size: int) -> str:
    """Three digits or so."""
    return f"{size / 2**20:.{0 if size >= 10 * 2**20 else 2}f}"


def each(
    model: Model, todo: list[Case], target: Target, batch_size: int, device: str
) -> list[dict[str, Any]]:
    """Predict and write case by case. A case that fails is listed; an unwritable file ends the run."""
    from truevox.errors import TrueVoxError
    from truevox.progress import progress

    failures: list[dict[str, Any]] = []
    with progress("Predicting", len(todo)) as advance:
        for k, case in enumerate(todo):
            advance(k, case.key)
            try:
                images = model.predict(case, batch_size=batch_size, device=device)
            except (TrueVoxError, RuntimeError, MemoryError) as error:
                failures.append(failure(case, error))
                continue
            target.write(case, images)
        advance(len(todo), "")
    return failures


def failure(case: Case, error: BaseException) -> dict[str, Any]:
    """A row of ``failures.csv``, its text on one line."""

    def field(name: str) -> str:
        value = getattr(error, name, None)
        return "" if value is None else " ".join(str(value).split())

    details = [f"{name}: {field(name)}" for name in ("got", "expected") if field(name)]
    message = field("message") or f"{type(error).__name__}: {' '.join(str(error).split())}"
    text = message + (f" ({'; '.join(details)})" if details else "")
    return {
        "case": case.key,
        "node": field("node"),
        "file": field("file"),
        "message": text,
        "remedy": field("remedy"),
    }


def write_failures(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Write the cases that failed; without any, an older list goes away."""
    from truevox.files import write_csv

    if rows:
        write_csv(path, rows, columns)
    else:
        path.unlink(missing_ok=True)
