"""What tells a parameter, or the code of a user's node, from a changed one: the content of a cache key.

Code is identified as it was imported, by its bytecode: an edit of the file while a run uses the old code
does not change it, and the next import does. What the code uses goes in too: helper functions, constants,
closures, default arguments and base classes of the user's own, and the versions of installed packages.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from truevox.files import software
from truevox.labels import Labels
from truevox.pipeline.cache import file_identity

__all__ = ["Code", "identity", "instructions", "library"]

ELSEWHERE = ("cli", "demo", "evaluation", "losses", "model", "recipe", "report", "theory")
"""Parts of the library that no cached voxel depends on."""
GENERATED = {"__init__", "__setattr__", "__delattr__", "__eq__", "__repr__", "__hash__", "__replace__"}
"""What a dataclass makes of its fields."""


def identity(value: Any) -> str | None:
    """Text that changes when a parameter does; None for what is no plain data.

    A path stands for the file: its text changes with the file's size, times and inode.
    """
    if isinstance(value, Path) and value.exists():
        return file_identity(value)
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, Path, Labels, np.generic)):
        return repr(value)
    if isinstance(value, np.dtype | types.EllipsisType | range | slice):
        return repr(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{value.dtype}{value.shape}{digest}"
    if isinstance(value, Mapping):
        parts = [identity(v) for pair in value.items() for v in pair]
    elif isinstance(value, (list, tuple)):
        parts = [identity(v) for v in value]
    elif isinstance(value, (set, frozenset)):
        made = [identity(v) for v in value]
        parts = [None] if None in made else sorted(made, key=str)  # their order differs between processes
    else:
        return None
    known = [p for p in parts if p is not None]
    return f"{type(value).__name__}({', '.join(known)})" if len(known) == len(parts) else None


@functools.cache
def library() -> str:
    """The version of the library, and a hash of the sources that cached voxels depend on."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        inner = file.relative_to(root)
        if inner.parts[0] not in ELSEWHERE:
            digest.update(str(inner).encode() + file.read_bytes())
    return f"{software()} {digest.hexdigest()[:16]}"


class Code:
    """The code of a class or function of a user's, and all that it uses.

    Attributes
    ----------
    text : str or None
        Its identity; None where something that it uses can't be identified.
    unknown : str or None
        What that is.

    Examples
    --------
    >>> factor = 2
    >>> scope = {"factor": 2}
    >>> exec("def double(x): return factor * x", scope)
    >>> before = Code(scope["double"]).text
    >>> scope["factor"] = 3
    >>> Code(scope["double"]).text == before
    False
    """

    def __init__(self, thing: Any) -> None:
        self.unknown: str | None = None
        self._seen: dict[int, tuple[int, Any]] = {}
        found = self._of(thing, getattr(thing, "__qualname__", type(thing).__qualname__), frozenset())
        self._seen.clear()
        self.text = None if self.unknown else hashlib.sha256(found.encode()).hexdigest()

    def _of(self, value: Any, name: str, names: frozenset[str]) -> str:
        """A value that code uses; ``names`` are all names in that code."""
        plain = identity(value)
        if plain is not None:
            return plain
        if id(value) in self._seen:
            return f"<{self._seen[id(value)][0]}>"
        self._seen[id(value)] = len(self._seen), value  # kept, or its id might become another's
        if isinstance(value, types.ModuleType):
            return self._module(value, names)
        if isinstance(value, (logging.Logger, types.MemberDescriptorType, types.GetSetDescriptorType)):
            return str(type(value).__name__)
        if (inner := _parts(value)) is not None:
            return f"{type(value).__name__}({', '.join(self._of(v, name, names) for v in inner)})"
        if hasattr(value, "__name__"):
            ours = isinstance(value, (types.FunctionType, type))
            module = getattr(value, "__module__", None) or (None if ours else type(value).__module__)
            if (installed := _installed(module)) is not None:
                return f"{installed} {module}.{getattr(value, '__qualname__', value.__name__)}"
        if isinstance(value, types.FunctionType):
            return self._function(value)
        return self._class(value) if isinstance(value, type) else self._object(value, name, names)

    def _module(self, module: types.ModuleType, names: frozenset[str]) -> str:
        installed = _installed(module.__name__)
        if installed is not None:
            return f"{installed} {module.__name__}"
        used = sorted(names & vars(module).keys())
        return f"{module.__name__}({', '.join(self._of(vars(module)[n], n, names) for n in used)})"

    def _function(self, function: types.FunctionType) -> str:
        code, scope = function.__code__, function.__globals__
        names = frozenset(_names(code))
        used = [n for n in sorted(names) if n in scope]
        parts = [_code_text(code), *used]
        parts += [self._of(scope[n], n, names) for n in used]
        for cell, free in zip(function.__closure__ or (), code.co_freevars, strict=True):
            # An empty cell belongs to a name that is not bound yet, such as the class being made.
            content = _content(cell)
            parts.append("" if content is _content else self._of(content, free, names))
        for default in (function.__defaults__, function.__kwdefaults__):
            parts.append(self._of(default, f"{function.__qualname__}'s default argument", names))
        return f"def({', '.join(parts)})"

    def _class(self, kind: type) -> str:
        parts = [kind.__qualname__]
        for base in kind.__mro__:
            installed = _installed(base.__module__)
            if installed is not None:
                parts.append(f"{installed} {base.__qualname__}")
                continue
            made = GENERATED if "__dataclass_fields__" in vars(base) else set()
            for name, value in vars(base).items():
                special = name.startswith("__") and not callable(value)
                if not special and name not in made and name != "_abc_impl":
                    parts += [name, self._of(value, f"{base.__qualname__}.{name}", frozenset())]
        return f"class({', '.join(parts)})"

    def _object(self, value: Any, name: str, names: frozenset[str]) -> str:
        """An object by its class and its state, where it keeps one that can be read."""
        state = getattr(value, "__dict__", None)
        if state is None or isinstance(value, types.GeneratorType):
            self.unknown = self.unknown or f"{name} ({type(value).__name__})"
            return ""
        return f"{self._of(type(value), name, names)}{self._of(dict(state), name, names)}"


def instructions(thing: Any) -> str | None:
    """Text that changes when a user's function or class does, whatever it uses; None for installed ones.

    Unlike :class:`Code` it leaves out globals and attributes of classes, which a run may change: counters.
    """
    if isinstance(thing, types.FunctionType):
        if _installed(thing.__module__) is not None:
            return None
        cells = [_content(cell) for cell in thing.__closure__ or ()]
        kept = [identity(v) for v in (*cells, *(thing.__defaults__ or ()))]
        return _code_text(thing.__code__) + str(kept)
    if isinstance(thing, type):
        found = [
            f"{name} {instructions(value)}"
            for base in thing.__mro__
            if _installed(base.__module__) is None
            for name, value in sorted(vars(base).items())
            if isinstance(value, types.FunctionType) and name not in GENERATED - {"__init__"}
        ]
        return " ".join(found) or None
    return None


def _parts(value: Any) -> Iterable[Any] | None:
    """What a wrapper or a collection is made of; None for anything else."""
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, (staticmethod, classmethod)):
        return (value.__func__,)
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, functools.cached_property):
        return (value.func,)
    if isinstance(getattr(value, "py_func", None), types.FunctionType):  # compiled by numba
        return (value.py_func,)
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    return None


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _content


def _names(code: types.CodeType) -> Iterable[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _code_text(code: types.CodeType) -> str:
    """What a piece of code does: its instructions and constants, without names of files or lines."""
    constants = [
        _code_text(c) if isinstance(c, types.CodeType) else f"{type(c).__name__} {identity(c)}"
        for c in code.co_consts
    ]
    parts = (
        code.co_code, code.co_exceptiontable, code.co_names, code.co_varnames, code.co_freevars,
        code.co_cellvars, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
    )  # fmt: skip
    return f"{parts!r}{constants}"


@functools.cache
def _installed(module: str | None) -> str | None:
    """Name and version of an installed package, or of Python; None for a user's own module."""
    top = (module or "").partition(".")[0]
    if top == "truevox":
        return "truevox"
    if module is None or top == "__main__":
        return None
    if top in sys.stdlib_module_names:
        return f"python {sys.version_info[0]}.{sys.version_info[1]}"
    file = getattr(sys.modules.get(top), "__file__", None)
    if file is None or not any(Path(file).is_relative_to(folder) for folder in _package_folders()):
        return None
    version = getattr(sys.modules[top], "__version__", None)
    if not isinstance(version, str):
        try:
            version = metadata.version(top)
        except metadata.PackageNotFoundError:
            return None
    return f"{top} {version}"


@functools.cache
def _package_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    known: list[str] = [paths[name] for name in ("purelib", "platlib")]
    found: Callable[[], list[str]] | None = getattr(site, "getsitepackages", None)
    known += [*(found() if found else []), site.getusersitepackages()]
    return tuple(Path(folder) for folder in known)
