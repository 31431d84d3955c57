"""Devices by name, with an error that lists what is there."""

from __future__ import annotations

from pathlib import Path

import torch

from truevox.errors import SettingsError

__all__ = ["available_devices", "has_bf16_units", "resolve_device"]


def available_devices() -> list[str]:
    """Names that :func:`resolve_device` takes on this machine.

    Examples
    --------
    >>> "cpu" in available_devices()
    True
    """
    names = ["auto", "cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of a name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; never another one in silence.

    Raises
    ------
    SettingsError
        If this machine has no such device.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    text = str(name)
    there = available_devices()
    if text not in there:
        raise SettingsError(
            f"There is no device '{text}' here.",
            got=text,
            expected=" | ".join(there),
            remedy="choose one of these; 'cuda' needs an NVIDIA driver and PyTorch built for CUDA",
        )
    if text == "auto":
        text = next((d for d in ("cuda", "mps") if d in there), "cpu")
    return torch.device(text)


def has_bf16_units(device: str | torch.device = "cpu") -> bool:
    """Whether a device computes in bfloat16 by itself; others emulate it, many times slower.

    Examples
    --------
    >>> isinstance(has_bf16_units("cpu"), bool)
    True
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    if kind != "cpu":
        return True
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if any(getattr(torch.cpu, name, lambda: False)() for name in asked):
        return True
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags.split()))
