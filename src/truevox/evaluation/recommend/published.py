"""The examples of the published guideline, as fingerprints."""

from __future__ import annotations

from truevox.evaluation.recommend.fingerprint import Fingerprint

__all__ = ["PUBLISHED"]

PUBLISHED: dict[str, Fingerprint] = {
    "embryo": Fingerprint(category="semantic", boundary=True, ref_noise="imprecision", multi_instance=False),
    "liver": Fingerprint(
        category="semantic", boundary=True, volume=True, ref_noise="imprecision", multi_instance=False
    ),
    "neuron": Fingerprint(category="instance", tubular=True, ref_noise="imprecision", scores=True),
    "instrument": Fingerprint(
        category="instance", tubular=True, boundary=True, ref_noise="imprecision", scores=True
    ),
}
"""Embryos in microscopy, livers in CT, neurons of the fruit fly in 3D, surgical instruments in video.

Maier-Hein et al. (2024), Metrics reloaded, figure 5. Neurons and instruments differ in the
criterion of being found: the outline of an instrument is what matters.
"""
