"""The imports point one way, and `import tracegrad` loads nothing that it can do without."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tracegrad
from tests import ROOT

PACKAGE = ROOT / "tracegrad"

# From the bottom up: a module may import from its own room and those before it. docs/architecture.md draws the same.
ROOMS = [
    {
        "tree",
        "core.context",
        "core.late",
        "typing",
        "core.types",
        "core.errors",
        "core.generated",
        "core.reached",
        "core.collector",
        "core.jax_arrays",
        "core.memory",
        "core.quiet",
        "core.numpy_warnings",
        "core.backends",
        "core.shared",
        "core.scopes",
        "core.sizes",
    },
    {"core.op", "tree_util", "core.axes", "core.static", "core.advice", "core.chance"},
    {"core.constants", "core.names", "core.plain", "core.tracebacks"},
    {"core.arguments"},
    {"core.constants", "core.names", "core.plain", "core.tracebacks", "core.functions"},
    {"core.refusals"},
    {"core.variable"},
    {"core.operators"},
    {"core.tracer"},
    {"core.trace"},
    {"core.symbols"},
    {"core.programs"},
    {"core.calls"},
    {"core.boxes"},
    {"core.views"},
    {"core.graph"},
    {"core.reuse", "core.key_parts"},
    {"core.tracing"},
    {"core.show", "core.check"},
    {"ops"},
    {"lower", "transforms", "xla.emit", "xla.cpu", "xla.host", "xla.passes", "xla.values", "xla.rules"},
    {"numpy", "lax", "xla.devices", "random", "scipy"},
    {"xla.primitives"},
    {"xla.from_jax"},
    {"nn", "optim", "io", "metrics", "data", "debug", "testing", "extend", "custom_derivatives", "show"},
    {"train"},
    {"sklearn"},
]
PACKAGES = {"core", "xla"}  # with nothing but their modules


def room_of(module: str) -> int:
    """Which room a module of tracegrad stands in, by the longest beginning of its name that one has."""
    parts = module.split(".")[1:]
    for count in range(len(parts), 0, -1):
        found = [i for i, names in enumerate(ROOMS) if ".".join(parts[:count]) in names]
        if found:
            return found[0]
    assert module.removeprefix("tracegrad.") in PACKAGES, module
    return 0


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> list[str]:
    """Every tracegrad module that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("tracegrad")]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "tracegrad":
                found += [f"tracegrad.{a.name}" for a in node.names]
            elif node.module and node.module.startswith("tracegrad."):
                found.append(node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += re.findall(r"^tracegrad\.[\w.]+$", node.value)  # what import_module may be given
    return found


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_imports_point_down(path: Path) -> None:
    mine = room_of(module_name(path))
    for name in imported(path):
        assert name != "tracegrad", f"{path} imports the package itself"
        assert room_of(name) <= mine, f"{module_name(path)} imports {name}, which is built on it"


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_imports_stand_at_the_top(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{path}:{inner[0].lineno} imports inside {node.name}"


# What is built on the public surface, as a user's own code could be: but for what makes errors and arguments like those of the rest,
# and a few functions that losses and activations compute with and that NumPy has no name for.
BUILT_ON_THE_SURFACE = ("nn", "optim", "train", "data", "metrics", "sklearn")
COURTESIES = {
    f"core.{name}"
    for name in (
        "arguments",
        "boxes",
        "context",
        "errors",
        "jax_arrays",
        "late",
        "names",
        "quiet",
        "scopes",
        "tracebacks",
        "types",
    )
}
SINGLE = {
    "core.trace": {"as_array"},
    "core.tracer": {"Tracer"},
    "core.graph": {"Graph", "graphs_of"},
    "debug.flops": {"steps_of_loop"},
    "debug.residuals": {"residuals"},
    "ops": {"softmax"},
    "ops.elementwise.casting": {"is_narrow", "widened"},
    "ops.elementwise.products": {"binary_cross_entropy", "multiply_keeping_zeros", "times_exp"},
    "ops.families": {"cast"},
}


@pytest.mark.parametrize("room", BUILT_ON_THE_SURFACE)
def test_what_is_built_on_the_public_surface(room: str) -> None:
    """No op is bound, no Graph walked, no rule written there."""
    public = {*tracegrad.__all__, *dir(tracegrad.numpy), *dir(tracegrad.lax), *dir(tracegrad.nn)}
    for path in [p for p in modules() if module_name(p).split(".")[1] == room]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("tracegrad."):
                continue
            module = str(node.module).removeprefix("tracegrad.")
            if (
                module.split(".")[0] not in ("core", "ops", "lower", "xla", "transforms", "debug")
                or module in COURTESIES
            ):
                continue
            for name in {a.name for a in node.names} - SINGLE.get(module, set()):
                is_public = name in public and module.split(".")[0] in ("ops", "transforms")
                assert is_public, f"{path}:{node.lineno} takes {name} from {module}, which is not public"


def test_no_private_modules_of_others() -> None:
    for path in modules():
        text = path.read_text()
        assert "jax._src" not in text and "numpy._core" not in text and "np._core" not in text, path


def test_import_loads_neither_jax_nor_scipy() -> None:
    code = "import sys, tracegrad; print([m for m in ('jax', 'scipy', 'hypothesis', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
