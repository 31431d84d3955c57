# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Mix-up: what is blended, and the loss against the blended truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import cohort_on_disk, small_model

import truevox as tv
from truevox import Input, SettingsError
from truevox.model.mixing import mixed, share_of_step
from truevox.model.settings import Settings
from truevox.model.training import Trained
from truevox.pipeline import Cache
from truevox.pipeline.data import Samples, Steps, batches


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> tv.Cohort:
    return cohort_on_disk(tmp_path_factory.mktemp("cohort"))


def test_intensities_are_blended_and_labels_stay():
    x = torch.arange(6.0).reshape(3, 1, 2, 1, 1)
    batch = {"nodes": [{"data": x, "affine": 0}, {"data": x, "affine": 1}], "targets": [x]}
    out = mixed(batch, [Input("x"), Input("y", kind="label")], 0.75)
    assert out["nodes"][0]["data"].flatten().tolist() == [1, 2, 1.5, 2.5, 3.5, 4.5]
    assert out["nodes"][1] is batch["nodes"][1]
    assert out["targets"] is batch["targets"]
    assert mixed(batch, [], 1.0) is batch


def test_the_share_follows_its_distribution_and_step():
    drawn = np.array([share_of_step(2.0, 0, s, 0) for s in range(500)])
    assert drawn.mean() == pytest.approx(0.5, abs=0.04)
    assert drawn.var() == pytest.approx(1 / 20, rel=0.2)  # of Beta(2, 2)
    assert share_of_step(2.0, 0, 3, 0) == drawn[3]
    assert share_of_step(2.0, 0, 3, 1) != drawn[3]


def test_the_loss_is_cross_entropy_against_the_blended_truth(cohort, tmp_path):
    model = small_model()
    samples = Samples(model.plan, list(cohort), model.pairs, 3, None)
    batch = next(iter(batches(samples, Steps(0, 1, 3))))
    settings = Settings(1, 3, seed=3, mix_up=0.5)
    trained = Trained(model, settings, samples, [], Cache(tmp_path))
    share = share_of_step(0.5, 3, 0, 0)
    assert 0.01 < share < 0.99
    blend = mixed(batch, samples.nodes, share)
    target = batch["targets"][0].float()
    soft = share * target + (1 - share) * target.roll(1, 0)
    plain = Trained(model, Settings(1, 3, seed=3), samples, [], Cache(tmp_path))
    wanted, _ = plain.loss_of({**blend, "targets": [soft]})
    torch.testing.assert_close(trained.loss_of(batch)[0], wanted)
    assert not torch.isclose(plain.loss_of(batch)[0], wanted)


def test_training_with_it_does_not_depend_on_workers(cohort, tmp_path):
    ends = []
    for workers, strength in ((0, 0.4), (1, 0.4), (0, 0.0)):
        model = small_model()
        model.fit(cohort, max_steps=3, seed=5, device="cpu", cache=tmp_path, workers=workers, mix_up=strength)
        ends.append(torch.cat([v.flatten() for v in model.module_dict.state_dict().values()]))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("options", [{"mix_up": 0.2, "batch_size": 1}, {"mix_up": -0.1}])
def test_refused(cohort, options):
    with pytest.raises(SettingsError, match="mix_up"):
        small_model().fit(cohort, max_steps=1, **options)
