# pyright: reportArgumentType=false
"""Where a volume comes from: what is said of it, by hand; and that files and images keep it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import truevox as tv
from truevox import Grid, Image, Labels, io
from truevox.losses import Brier, CrossEntropy, Focal, Lovasz, Scheduled, SoftDice
from truevox.losses.base import Loss
from truevox.losses.properties import unbiased_for_volume
from truevox.measures import Output, Volume, read_outputs, volumes_table, write_outputs
from truevox.origin import Origin, VolumeBias

GRID = Grid((10, 10, 10))
BIAS = {"a": {"expected": VolumeBias(1.81, 108.4, 4), "threshold": VolumeBias(-0.5, math.nan, 4)}}
TRAINED = Origin("CrossEntropy", True, 200, validated_at=200, bias=BIAS)


def test_bias_is_the_mean_error_and_its_share_of_the_mean_reference():
    """Percent is of the means: an empty reference counts, and does not make it infinite."""
    bias = VolumeBias.of([(3.0, 2.0), (1.0, 0.0), (2.0, 4.0)])
    assert (bias.ml, bias.percent, bias.cases) == (0.0, 0.0, 3)
    bias = VolumeBias.of([(3.0, 2.0), (1.0, 0.0)])
    assert (bias.ml, bias.percent) == (1.0, 100.0)
    assert math.isnan(VolumeBias.of([(3.0, 0.0)]).percent)
    assert math.isnan(VolumeBias.of([]).ml)


def _is_least_at_the_share(loss: Loss) -> bool:
    """Whether 0.3 has the least loss, for ten voxels that look alike and of which three are true."""
    truth = torch.tensor([[[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]]])
    values = torch.arange(1, 100) / 100
    costs = [float(loss.on_probabilities(p.expand(1, 1, 10), truth)) for p in values]
    return abs(float(values[int(np.argmin(costs))]) - 0.3) < 1e-6


@pytest.mark.parametrize(
    "loss",
    [
        CrossEntropy(), CrossEntropy(weight=(2.0, 2.0)), CrossEntropy(weight=(1.0, 3.0)), Brier(), Focal(),
        Focal(gamma=0.0), SoftDice(smooth_nr=1.0, smooth_dr=1.0), CrossEntropy() + 0.5 * Brier(),
        CrossEntropy() + SoftDice(),
    ],
)  # fmt: skip
def test_a_loss_is_called_unbiased_if_the_chance_minimises_it(loss: Loss):
    assert unbiased_for_volume(loss) is _is_least_at_the_share(loss)


def test_losses_whose_bias_is_not_known():
    class Mine(Loss):
        pass

    assert unbiased_for_volume(Mine()) is None
    assert unbiased_for_volume(CrossEntropy() + Mine()) is None
    assert unbiased_for_volume(Mine() + Lovasz()) is False
    assert unbiased_for_volume(CrossEntropy() + -1.0 * Brier()) is None
    # What follows a schedule counts as it ends.
    assert unbiased_for_volume(CrossEntropy() + Scheduled(SoftDice(), ((0, 1.0), (9, 0.0)))) is True
    assert unbiased_for_volume(CrossEntropy() + Scheduled(SoftDice(), ((0, 0.0), (9, 1.0)))) is False


def test_a_note_says_what_is_known():
    assert TRAINED.note("a", "threshold").endswith("in validation -0.5 ml on 4 cases")
    early = Origin("SoftDice", False, 200, centred=True, validated_at=150, bias=BIAS)
    assert early.note("a", "expected") == (
        "SoftDice (biased for volumes), 200 steps, not calibrated, patches centred on the label; "
        "in validation at step 150 +1.81 ml (+108 %) on 4 cases"
    )
    assert "bias for volumes unknown" in Origin("mine", None, 1).note("a", "expected")


def test_plain_data_and_back():
    for origin in (TRAINED, Origin("mine", None, 3, centred=True)):
        again = Origin.from_dict(json.loads(json.dumps(origin.to_dict())))
        assert repr(again) == repr(origin)  # NaN is not equal to itself


def test_a_volume_says_where_it_comes_from():
    p = Image(np.full((1, 10, 10, 10), 0.6, np.float32), GRID, "probability", labels=Labels({"a": 1}))

    def of(image: Image, **options) -> Volume:
        found = tv.volume(image, **options)
        assert isinstance(found, Volume)
        return found

    assert of(p).note == "how the probabilities were made is not known"
    made = p.replace(origin=TRAINED)
    assert of(made).note == TRAINED.note("a", "expected")
    assert of(made).origin is TRAINED
    assert of(made, method="threshold").note == TRAINED.note("a", "threshold")
    # Validation did not look at this threshold.
    assert of(made, method="threshold", threshold=0.3).note.endswith("not validated")
    # A mask that was decided on is held against the masks of validation, whatever the method is called.
    mask = made.replace(data=torch.ones(1, 10, 10, 10, dtype=torch.uint8), kind="label")
    assert of(mask).note == TRAINED.note("a", "threshold")
    assert of(mask.replace(origin=None)).note == ""
    # Arithmetic makes other numbers, of which nothing is known.
    assert (made * 0.5).origin is None


def test_the_table_says_where_volumes_come_from(tmp_path: Path):
    write_outputs(tmp_path, {"a": Output(Labels({"a": 1}), None, TRAINED), "b": Output(Labels({"a": 1}))})
    for name in ("a", "b"):
        p = Image(np.full((1, 10, 10, 10), 0.6, np.float32), GRID, "probability")
        io.save(p, tmp_path / "p07" / f"{name}_probabilities.nii.gz")
        io.save(p.replace(data=(p.data > 0).byte(), kind="label"), tmp_path / "p07" / f"{name}.nii.gz")
    assert repr(read_outputs(tmp_path)["a"].origin) == repr(TRAINED)
    rows = {(r["output"], r["method"]): r for r in volumes_table(tmp_path)}
    told = ("loss", "loss_unbiased", "calibrated", "training_steps", "validation_bias_ml")
    told += ("validation_bias_percent", "validation_cases")
    expected = rows["a", "expected"]
    assert [expected[c] for c in told] == ["CrossEntropy", "yes", "no", 200, 1.81, 108.4, 4]
    assert expected["note"] == TRAINED.note("a", "expected")
    assert [rows["a", "threshold"][c] for c in told[4:]] == [-0.5, None, 4]
    assert all(rows["b", m][c] is None for m in ("expected", "threshold") for c in told)
    assert [rows["b", m]["note"] != "" for m in ("expected", "threshold")] == [True, False]


def test_a_damaged_origin_is_told(tmp_path: Path):
    text = '{"a": {"names": {"a": 1}, "origin": {"loss": "x"}}}'
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(tv.FileError, match="does not describe outputs"):
        read_outputs(tmp_path)
