"""Imports go one way: models, then services, then tasks and views. Read from the sources, wherever in them an import stands."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
    if path.relative_to(ROOT).parts[0] not in ("tests", "browser_tests")
}
# What the modules of these names may not import, in any app.
FORBIDDEN = {
    "models": {"admin", "client", "gateway", "outbox", "services", "tasks", "views"},
    "outbox": {"admin", "services", "tasks", "views"},
    "services": {"admin", "tasks", "views"},
    "tasks": {"admin", "views"},
}


def imported(path: Path, modules: set[str]) -> set[str]:
    """The modules of the project that a source imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = list(path.relative_to(ROOT).parts[: -node.level]) if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            # `from app import module` imports the module, `from app.module import name` the one it stands in.
            found |= {name if (name := f"{source}.{alias.name}") in modules else source for alias in node.names}
    return found & modules


GRAPH = {module: imported(path, set(SOURCES)) - {module} for module, path in SOURCES.items()}


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert len(GRAPH) > 50
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_nothing_above_it(layer: str) -> None:
    upward = {
        f"{module} imports {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if module.endswith(f".{layer}") and target.rpartition(".")[2] in FORBIDDEN[layer]
    }
    assert upward == set()
