"""``truevox predict``: label maps, volumes and, if asked, probabilities, on each scan's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from truevox.cli.running import SOME_FAILED, say, say_remarks

if TYPE_CHECKING:
    from truevox.cli.predictions import Target
    from truevox.cohort import Case
    from truevox.model import Model
    from truevox.model.options import Options

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
    max_memory: Annotated[
        str | None, typer.Option(help="Memory that the process may take in all, e.g. 2GiB.")
    ] = None,
    body_box: Annotated[
        bool, typer.Option("--body-box", help="Windows only where the body is. Another prediction.")
    ] = False,
    whole_volume: Annotated[
        bool, typer.Option("--whole-volume", help="One window as large as the scan. Another prediction.")
    ] = False,
    precision: Annotated[str, typer.Option(help="float32 or bf16, which is another prediction.")] = "float32",
    equivalence: Annotated[
        int, typer.Option(min=0, help="First compare so many cases with and without such options.")
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Predict again what is there.")] = False,
) -> None:
    """Predict scans, each on its own grid.

    Writes <case>/<output>.nii.gz (the decided labels), <case>/volumes.json (expected volumes and those of the
    labels), labels.json, run.json and, if a case failed, failures.csv; with --equivalence, what
    the options change: equivalence.csv and equivalence.json.
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
    from truevox.model.equivalence import compare
    from truevox.model.options import Options

    graph = model_folder(run) / "graph.json"
    options = Options(
        batch_size or recipe_batch_size(run), resolve_device(device), max_memory, out, body_box, whole_volume,
        _precision(precision),
    )  # fmt: skip
    # Predictions made another way are not taken for these.
    identity = " ".join([sha256(graph), *(f"{n}={v}" for n, v in options.changed.items())])
    target = Target(out, model, identity, probabilities)
    settings = {
        "model": str(run), "split": split, "probabilities": probabilities, "batch_size": options.batch,
        "device": str(options.device), "max_memory": max_memory, "body_box": body_box,
        "whole_volume": whole_volume, "precision": precision, "equivalence": equivalence,
        "overwrite": overwrite,
    }  # fmt: skip
    todo = [case for case in chosen if overwrite or not target.holds(case)]
    inputs = described_by(source) | {"graph": graph}
    with recorded(out / "run.json", "predict", settings, inputs) as record:
        record["cases"] = [case.key for case in chosen]
        record["splits"] = splits
        target.write_labels()
        if equivalence:
            report = compare(model, list(chosen)[:equivalence], options)
            report.write(out)
            say(str(report))
        tell_memory(model, todo, options, len(chosen) - len(todo))
        failures = each(model, todo, target, options)
        record.update(failed=[row["case"] for row in failures], remarks=dict(model.remarks))
        write_failures(out / "failures.csv", failures, FAILURES)
    say_remarks(model.remarks)
    say(f"{len(todo) - len(failures)} of {len(todo)} cases predicted. The results are in {out}.")
    if failures:
        say(f"{len(failures)} failed, see {out / 'failures.csv'}")
        raise typer.Exit(SOME_FAILED)


def _precision(text: str) -> Literal["float32", "bf16"]:
    """The precision of this name.

    Raises
    ------
    SettingsError
    """
    from truevox.errors import SettingsError

    if text == "float32" or text == "bf16":
        return text
    raise SettingsError(
        "Unknown precision.",
        got=text,
        expected="float32 or bf16",
        remedy="leave --precision out for float32, or write --precision bf16",
    )


def tell_memory(model: Model, todo: list[Case], options: Options, skipped: int) -> None:
    """State what the largest scan will need, before the run."""
    from truevox.errors import TrueVoxError
    from truevox.model.memory import memory_plan

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
        plan = memory_plan(model, largest[1], options)
    except TrueVoxError:
        return  # it fails, and is listed, when its turn comes
    need = plan.parts()
    total = mebibytes(need.pop("total"))
    parts = ", ".join(f"{name} {mebibytes(size)}" for name, size in need.items())
    disk = f" {mebibytes(plan.disk)} MiB go to files." if plan.on_disk else ""
    say(
        f"Memory for the largest of {len(todo)} scans ({largest[1].key}): about {total} MiB ({parts}) "
        f"and what PyTorch itself takes.{disk}"
    )


def mebibytes(size: int) -> str:
    """Three digits or so."""
    return f"{size / 2**20:.{0 if size >= 10 * 2**20 else 2}f}"


def each(model: Model, todo: list[Case], target: Target, options: Options) -> list[dict[str, Any]]:
    """Predict and write case by case. A case that fails is listed; an unwritable file ends the run."""
    from truevox.errors import TrueVoxError
    from truevox.model import prediction
    from truevox.progress import progress

    failures: list[dict[str, Any]] = []
    with progress("Predicting", len(todo)) as advance:
        for k, case in enumerate(todo):
            advance(k, case.key)
            try:
                images = prediction.predict(model, case, options)
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
