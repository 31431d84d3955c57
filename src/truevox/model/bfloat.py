"""Whether bfloat16 is worth it here: processors differ, so where they could gain it is timed, briefly."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from truevox.devices import has_bf16_units

if TYPE_CHECKING:
    from truevox.model.training import Trained

__all__ = ["faster_in_bf16"]

REPEATS = 3
ENOUGH_S = 5.0
"""No repetition is begun after this time."""
GAIN = 0.9
"""Share of the time of float32 that bfloat16 may take to be chosen."""


def faster_in_bf16(module: Trained, device: torch.device) -> bool:
    """Whether a training step is faster in bfloat16: not asked where the device only emulates it.

    The result, and what it rests on, is among the remarks of the run.
    """
    if not has_bf16_units(device):
        module.remarks["precision auto: float32, as this device has no units for bfloat16"] += 1
        return False
    made = module.on_before_batch_transfer(next(iter(module.batches_from(0))), 0)
    batch = module.transfer_batch_to_device(made, device, 0)
    state = {k: v.detach().clone() for k, v in module.networks.state_dict().items()}
    module.networks.to(device)
    begin = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        full = _fastest(module, batch, device, False, begin, torch.inf)
        half = _fastest(module, batch, device, True, begin, full)
    module.zero_grad(set_to_none=True)
    module.networks.load_state_dict(state)
    chosen = half < GAIN * full
    name = "bf16" if chosen else "float32"
    module.remarks[f"precision auto: {name}; a step takes {full:.3g} s in float32, {half:.3g} s in bf16"] += 1
    return chosen


def _fastest(
    module: Trained, batch: Any, device: torch.device, enabled: bool, begin: float, other: float
) -> float:
    """Seconds of the fastest of some steps; of one, where it is hopeless or time is up."""
    best = torch.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            loss, _ = module.loss_of(batch)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
        if best > 3 * other or time.perf_counter() - begin > ENOUGH_S:
            break
    return best
