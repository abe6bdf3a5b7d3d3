"""The rules of style that a linter does not know."""

import ast
from collections import Counter

from tests.support.paths import ROOT
from tests.support.tree import calls, modules

MAX_FILE_LINES, MAX_TEST_FILE_LINES, MAX_FUNCTION_LINES = 400, 500, 40
SAME_NAMES: set[str] = set()
"""Public class names that two packages may share: none."""
BARRED = ("util", "helper", "manager", "handler", "base", "data", "info")


def named(path: object) -> str:
    return str(path).removeprefix(f"{ROOT}/")


def test_every_module_has_a_docstring() -> None:
    assert [named(path) for path, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_only_packages_declare_what_they_export() -> None:
    odd = [
        named(path)
        for path, tree in {**modules(), **modules("tests")}.items()
        if path.name != "__init__.py"
        and any(
            isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in ast.unparse(node)
            for node in tree.body
        )
    ]

    assert odd == []


def test_no_public_class_name_is_used_twice() -> None:
    names = Counter(
        node.name
        for tree in modules().values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )

    assert {name for name, count in names.items() if count > 1} - SAME_NAMES == set()


def test_no_file_is_too_long() -> None:
    limits = dict.fromkeys(modules(), MAX_FILE_LINES)
    limits |= dict.fromkeys(modules("tests"), MAX_TEST_FILE_LINES)
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in limits}

    assert {named(path): n for path, n in lines.items() if n > limits[path]} == {}


def test_no_function_is_too_long() -> None:
    long = [
        f"{named(path)}:{node.lineno} {node.name}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]

    assert long == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [named(p) for p in modules() if p.stem in {*BARRED, *(f"{b}s" for b in BARRED)}] == []


def test_every_broad_except_has_a_reason() -> None:
    odd = [
        f"{named(path)}:{node.lineno}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and node.type is not None
        and ast.unparse(node.type) in {"Exception", "BaseException"}
        and "noqa: BLE001  " not in path.read_text("utf-8").splitlines()[node.lineno - 1]
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
        and not any(ast.unparse(call.func) == "log.exception" for call in calls(node))
    ]

    assert odd == []
