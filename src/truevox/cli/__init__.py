"""The command line: thin, no logic; ``truevox --help`` loads neither torch nor NumPy."""

from truevox.cli.app import app, main

__all__ = ["app", "main"]
