"""``truevox demo``: the main job on phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("demo"),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each method.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Coarser scans and fewer steps: half a minute.")
    ] = False,
) -> None:
    """Make phantoms with a known truth, train, predict, and compare the volumes of two losses."""
    from truevox.cli.record import recorded
    from truevox.demo import run_demo

    with recorded(out / "run.json", "demo", {"out": str(out), "steps": steps, "quick": quick}, {}):
        run_demo(out, steps=steps, quick=quick)
