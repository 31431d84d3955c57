"""The demo from end to end: cohort, two trainings, predictions, numbers, figures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import truevox as tv
from truevox.demo import phantom, plots, scores, study
from truevox.demo.progress import stage
from truevox.errors import SettingsError
from truevox.evaluation import Summary
from truevox.files import write_csv
from truevox.pipeline.cache import Cache

__all__ = ["run_demo"]

Histories = dict[str, list[dict[str, float]]]
_STYLES = {key: method.style for key, method in study.METHODS.items()}


def run_demo(
    out: str | Path,
    steps: int | None = None,
    seed: int = 0,
    splits: Mapping[str, int] | None = None,
    quick: bool = False,
) -> list[scores.MethodResult]:
    """The main job on phantoms whose boundary is truly uncertain.

    Writes a cohort (``cohort/cohort.csv``, NIfTI), trains one network with cross-entropy and one with soft
    Dice, predicts the test split (``<loss>/preds/<case>/``), and writes ``volumes.csv``, ``metrics.csv``,
    ``summary.csv`` and figures (PNG). The table goes to standard output, progress to standard error.

    Parameters
    ----------
    out : path
        Folder of the results. What an earlier demo wrote there is replaced.
    steps : int, optional
        Training steps per loss; 600 by default, 300 if ``quick``.
    seed : int
        Of the cohort and of the training.
    splits : mapping of str to int, optional
        Cases in ``train``, ``val`` and ``test``; 48, 4 and 20 by default.
    quick : bool
        Voxels of twice the size, and half of the steps: the same lesson in a fifth of the time.

    Returns
    -------
    list of MethodResult
        What the table shows, one per loss.

    Raises
    ------
    SettingsError
        If ``steps`` is not positive.
    FileError
        If the folder can't be written.
    """
    if steps is not None and steps < 1:
        raise SettingsError(
            "The demo trains for at least one step.", got=steps, remedy="steps=300, or leave it out"
        )
    voxel_mm = study.QUICK_VOXEL_MM if quick else phantom.VOXEL_MM
    steps = steps or (study.QUICK_STEPS if quick else study.STEPS)
    root = Path(out)
    with stage("Writing the cohort"):
        cohort = tv.Cohort.from_csv(phantom.write_cohort(root / "cohort", seed, splits, voxel_mm))
    test = cohort.split("test")
    folders = {key: root / key / "preds" for key in study.METHODS}
    histories: Histories = {}
    with tempfile.TemporaryDirectory(prefix="truevox-demo-") as scratch:
        cache = Cache(Path(scratch))
        for key, method in study.METHODS.items():
            model = study.lesion_model(method.loss, seed, phantom.largest_shape(voxel_mm))
            with stage(f"Training with {method.style.name}") as report:
                histories[key] = study.train(model, cohort, steps, seed, cache, report)
            model.save(root / key / "model")
            with stage(f"Predicting with {method.style.name}") as report:
                study.predict_all(model, test, folders[key], report)
    with stage("Measuring and drawing"):
        found, volumes = _measure(root, test, folders)
        _draw(root, test, folders, histories, volumes)
    _show(found, len(test.ids), root)
    return found


def _measure(
    root: Path, test: tv.Cohort, folders: Mapping[str, Path]
) -> tuple[list[scores.MethodResult], list[scores.Row]]:
    volumes = scores.volume_rows(test, folders)
    metrics = scores.metric_rows(test, folders, volumes)
    found, table = scores.results(metrics, volumes, list(folders))
    write_csv(root / "volumes.csv", volumes, scores.DEMO_VOLUME_COLUMNS)
    write_csv(root / "metrics.csv", metrics, scores.DEMO_METRIC_COLUMNS)
    write_csv(root / "summary.csv", table, scores.DEMO_SUMMARY_COLUMNS)
    return found, volumes


def _draw(
    root: Path,
    test: tv.Cohort,
    folders: Mapping[str, Path],
    histories: Histories,
    volumes: Sequence[scores.Row],
) -> None:
    plots.plot_training(root / "training_curve.png", histories, _STYLES)
    plots.plot_volumes(root / "volumes.png", scores.volume_points(volumes, list(folders)), _STYLES)
    for name in test.ids[:2]:
        records = list(test.select([name]))
        plots.plot_overlay(
            root / f"overlay_{name}.png",
            name,
            records[0]["image"],
            records[0].load("probability", "probability"),
            [record.load("label", "label") for record in records],
            {
                key: tv.load(folder / name / f"{study.OUTPUT}_probabilities.nii.gz", "probability")
                for key, folder in folders.items()
            },
            _STYLES,
        )


# ---- what is said at the end --------------------------------------------------------------------------


def _show(found: Sequence[scores.MethodResult], cases: int, root: Path) -> None:
    console = Console(highlight=False)
    known = found[0].known_ml
    table = Table(
        title=f"{cases} test cases, known expected volume {known:.2f} ml on average",
        caption="Mean over cases [95 % interval]; errors against the known expected volume",
    )
    table.add_column("Loss")
    for heading in ("Dice\nof the mask", "Error of the\nexpected volume", "Error of the\nmask's volume"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        name = _STYLES[one.source].name
        table.add_row(name, f"{one.dice.mean:.3f}", _error(one.expected, known), _error(one.mask, known))
        table.add_section()
    console.print(table)
    for text in explanation(found):
        console.print(text)
    console.print(f"Tables and figures are in {root}.", soft_wrap=True)


def _error(error: Summary, known: float) -> str:
    return (
        f"{error.mean:+.2f} ml ({100 * error.mean / known:+.0f} %)\n"
        rf"\[{error.ci_low:+.2f}, {error.ci_high:+.2f}] ml"
    )


def explanation(found: Sequence[scores.MethodResult]) -> list[str]:
    """What was measured, and why theory expects a bias of one loss and none of the other."""
    measured = [
        f"{_STYLES[one.source].name}: the interval of the expected volume's error "
        f"{'covers' if one.covers_zero else 'does not cover'} zero."
        for one in found
    ]
    return [" ".join(measured), _WHY]


_WHY = (
    "Why: where 43 of 100 raters mark a voxel, the best answer for cross-entropy is 0.43, so that its "
    "probabilities add up to the volume to expect. The best answer for soft Dice is all or nothing: here it "
    "counts the faint margins whole, because that raises the overlap, and its volumes are too large. A mask "
    "(p > 0.5) is such a decision too, whatever the loss: estimate first, decide last."
)
