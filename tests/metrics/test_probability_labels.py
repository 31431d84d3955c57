"""Probabilities of several labels."""

from __future__ import annotations

import numpy as np
import pytest

from truevox.metrics import evaluate, evaluate_labels


def test_a_score_counts_in_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((12, 10, 8), np.uint8)
    truth[3:6, 2:5, 2:5] = 2
    score = rng.random(truth.shape)
    found = evaluate_labels(truth, truth, (1, 1, 1), {"tumour": 2}, ["brier", "ece"], score={"tumour": score})
    assert found["tumour"]["brier"].value == pytest.approx(((score - (truth == 2)) ** 2).mean())
    alone = evaluate(truth == 2, truth == 2, (1, 1, 1), ["ece"], score=score)
    assert found["tumour"]["ece"] == alone["ece"]
