"""The commands of ``truevox``, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from truevox.cli.check import check
from truevox.cli.compare import compare
from truevox.cli.demo import demo
from truevox.cli.describe import describe
from truevox.cli.evaluate import evaluate
from truevox.cli.predict import predict
from truevox.cli.recommend import recommend
from truevox.cli.running import DEBUG, guarded
from truevox.cli.split import split
from truevox.cli.theory import theory
from truevox.cli.train import train
from truevox.cli.volumes import volumes

__all__ = ["app", "main"]

app = typer.Typer(
    name="truevox",
    help="Medical image segmentation that knows where every voxel is and what every probability means.",
    epilog="Exit codes: 0 all went well; 1 some cases failed and are listed; 2 wrong usage; 3 invalid data.",
    no_args_is_help=True,
    add_completion=False,
    # Tracebacks with local variables would print patients' data.
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"truevox {version('truevox')}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="TRUEVOX_DEBUG", help="Show tracebacks of errors.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""
    DEBUG.set(debug)


app.command()(guarded(check))
app.command()(guarded(split))
app.command()(guarded(train))
app.command()(guarded(predict))
app.command()(guarded(volumes))
app.command()(guarded(evaluate))
app.command()(guarded(compare))
app.command()(guarded(recommend))
app.command()(guarded(theory))
app.command()(guarded(describe))
app.command()(guarded(demo))


def main() -> None:
    """Entry point of ``truevox``."""
    app()
