"""Every error of the library says what to do: read from the sources, so that no new one is forgotten."""

import ast
from functools import cache
from pathlib import Path

import truevox

ROOT = Path(truevox.__file__).parent

# What no user can cause has no remedy: the run asks for these itself; that they occur is a mistake in it.
INTERNAL = {
    ("pipeline/lazy.py", "The voxels of a network's output were asked for before the network ran."),
    ("pipeline/run.py", "A frame of a fan-out has lost its parent."),
    ("pipeline/run.py", "Only networks run on batches."),
    ("pipeline/run.py", "{} is no fan-out."),
}


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


@cache
def sources() -> dict[str, ast.Module]:
    return {p.relative_to(ROOT).as_posix(): ast.parse(p.read_bytes()) for p in sorted(ROOT.rglob("*.py"))}


@cache
def error_classes() -> frozenset[str]:
    """Names of TrueVoxError and of all that derive from it, however far."""
    bases = {
        node.name: {name_of(base) for base in node.bases}
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"TrueVoxError"}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return frozenset(found)


def text_of(call: ast.Call) -> str:
    """The message, with ``{}`` for what is filled in."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in first.values)
    return str(first.value) if isinstance(first, ast.Constant) else ""


def may_be_none(remedy: ast.expr | None) -> bool:
    """Whether a remedy is left out, empty, or none in one of two cases."""
    if isinstance(remedy, ast.IfExp):
        return may_be_none(remedy.body) or may_be_none(remedy.orelse)
    if isinstance(remedy, ast.Call):
        return name_of(remedy.func) == "did_you_mean"
    return remedy is None or (isinstance(remedy, ast.Constant) and not remedy.value)


def without_remedy(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and message of every error that is made without a remedy, or with an empty one."""
    missing = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or name_of(node.func) not in error_classes():
            continue
        given = {word.arg: word.value for word in node.keywords}
        remedy = given.get("remedy")
        if may_be_none(remedy):
            missing.append((node.lineno, text_of(node)))
    return missing


def test_the_search_finds_what_lacks_a_remedy() -> None:
    made = """
raise errors.GeometryError(f"{a} is flat.", got=1)
raise LabelError("No value.", remedy=None)
raise SettingsError("Unknown.", remedy=did_you_mean(word, known) or "leave it out")
raise SettingsError("Not known.", remedy=did_you_mean(word, known))
raise SettingsError("Sometimes.", remedy="leave it out" if word else None)
raise ValueError("not ours")
"""
    assert without_remedy(ast.parse(made)) == [
        (2, "{} is flat."), (3, "No value."), (5, "Not known."), (6, "Sometimes."),
    ]  # fmt: skip


def test_errors_of_other_modules_are_known() -> None:
    assert {"CaseError", "FileError", "GraphError", "NodeError", "WorkerError"} <= error_classes()


def test_every_error_has_a_remedy() -> None:
    # errors.py rebuilds an error that was pickled: its remedy follows as a field.
    found = [
        (file, line, text)
        for file, tree in sources().items()
        if file != "errors.py"
        for line, text in without_remedy(tree)
    ]
    forgotten = [f"{file}:{line}: {text}" for file, line, text in found if (file, text) not in INTERNAL]
    assert not forgotten, "\n".join(forgotten)
    assert {(file, text) for file, _, text in found} == INTERNAL
