"""Labels looked at where they are score as in the whole image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from truevox import metrics
from truevox.errors import LabelError
from truevox.evaluation.masks import declared, found_in
from truevox.io.segments import Segments
from truevox.labels import Labels
from truevox.metrics import Pair
from truevox.metrics.scoring import value_of

NAMES = ("dice", "volume_difference_ml", "specificity")
VOLUMES = arrays(np.uint8, (1, 5, 4, 6), elements=st.sampled_from([0, 0, 0, 0, 1, 2, 3]))


@settings(max_examples=60, deadline=None)
@given(VOLUMES, VOLUMES, st.booleans())
def test_a_part_scores_as_the_whole(prediction: np.ndarray, reference: np.ndarray, fortran: bool) -> None:
    labels = Labels({"a": 1, "b": 2, "c": 3, "d": 9, "ab": [1, 2]})
    if fortran:
        prediction, reference = prediction.copy("F"), reference.copy("F")
    for name, masks in declared(Segments(prediction, Path()), Segments(reference, Path()), labels):
        p, r = (np.isin(x[0], labels.values_of(name)) for x in (prediction, reference))
        whole = metrics.evaluate(p, r, (1, 2, 3), NAMES)
        part = Pair(masks.prediction, masks.reference, (1, 2, 3), whole=masks.whole)
        for one in NAMES:
            found = value_of(metrics.definition(one), part)
            assert found.status == whole[one].status
            assert found.value == pytest.approx(whole[one].value, nan_ok=True)
        assert part.diagonal_mm == pytest.approx(np.linalg.norm([5, 8, 18]))
        box = tuple(slice(a, a + n) for a, n in zip(masks.start, masks.prediction.shape, strict=True))
        assert np.array_equal(p[box], masks.prediction)


def test_values_have_the_names_that_their_files_give_them() -> None:
    def named(mine: Labels | None, theirs: Labels | None) -> dict[str, tuple[int, int]]:
        sides = (
            Segments(np.array([[[[0, 1, 2]]]]), Path(), mine),
            Segments(np.array([[[[0, 2, 5]]]]), Path(), theirs),
        )
        return {name: (int(m.prediction.sum()), int(m.reference.sum())) for name, m in found_in(*sides)}

    mine, theirs = Labels({"liver": 1, "spleen": 2}), Labels({"Liver": 2})
    # Case and separators do not matter; the reference says what it is called.
    assert named(mine, theirs) == {"5": (0, 1), "Liver": (1, 1), "spleen": (1, 0)}
    # A table of one side serves both.
    assert set(named(None, theirs)) == {"1", "5", "Liver"}
    channels = Segments(np.zeros((2, 3, 3, 3), np.uint8), Path())
    with pytest.raises(LabelError, match="several channels"):
        found_in(channels, Segments(np.zeros((1, 3, 3, 3), np.uint8), Path()))
