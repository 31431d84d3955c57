"""The main job on phantoms: ``truevox demo``."""

from truevox.demo.run import run_demo
from truevox.demo.scores import MethodResult

__all__ = ["MethodResult", "run_demo"]
