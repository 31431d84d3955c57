"""``truevox demo``: the main job on phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("demo"),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each method.")] = None,
) -> None:
    """Make phantoms with a known truth, train, predict, and compare the volumes of two losses."""
    from truevox.demo import run_demo

    run_demo(out) if steps is None else run_demo(out, steps=steps)
