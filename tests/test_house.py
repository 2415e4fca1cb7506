"""The house rules that a machine can hold, checked by reading the tree (numbers: the rules in CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import graphlib
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "corecur"
CODE = ("src", "tests", "examples", "bench")
TEXT = (*CODE, "docs", ".ci", ".")
UNTRACKED = {"__pycache__", "runs", "build", "dist"}

# Lowest first. A module imports from rows above its own in this table (lower levels) and from its own name only.
LEVELS = (
    ("errors", "version"),
    ("cores", "finding", "names", "run_lock"),
    ("interruption", "runtime", "bundle", "data", "kernels"),
    ("layers",),
    ("engine",),
    ("graph", "run_folder", "shape_budget"),
    ("models",),
    ("architecture", "summary"),
    ("model_file",),
    ("explain", "report"),
    ("learners",),
    ("combine", "comparison", "tuning"),
    ("console",),
    ("commands",),
    ("corecur", "cli", "tensorflow"),
    ("__main__",),
)
# Methods of a model that a file of its own does: they load that file at their first use.
UPWARDS_AT_FIRST_USE = {("models", "summary"), ("models", "model_file")}
# The literal layer table stands in layers/__init__.py; the two faces give whole packages other names.
PACKAGES_AS_SOURCE = {("corecur.architecture", "LAYERS"), ("corecur", "layers"), ("corecur.tensorflow", None)}
FACES = ("corecur", "corecur.tensorflow")

MOST_LINES, MOST_BODY_LINES = 500, 60
# path or path:function -> why it is longer
LONGER: dict[str, str] = {}
# The share of public functions and classes whose docstring runs an example; it may only rise.
EXAMPLE_SHARE = 0.63
SHARED_LINES = 6


@dataclass(frozen=True)
class Import:
    """One imported name: who imports what from where, and whether that happens when the module is loaded."""

    importer: str
    module: str
    name: str | None
    at_load: bool


def python_files(*folders: str) -> list[Path]:
    """All Python files under these folders of the project."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if not UNTRACKED & set(path.relative_to(ROOT).parts))


def module_name(path: Path) -> str:
    """``corecur.layers.conv`` for its file; a package for its ``__init__``."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): (path, ast.parse(path.read_text("utf-8"))) for path in python_files("src/corecur")}


def text_files() -> Iterator[Path]:
    """Every file of the project that a person wrote."""
    for folder in TEXT:
        found = (ROOT / folder).glob("*") if folder == "." else (ROOT / folder).rglob("*")
        for path in found:
            inside = path.relative_to(ROOT).parts
            cached = any(part in UNTRACKED or part.endswith(("cache", ".egg-info")) for part in inside)
            if path.is_file() and not cached and path.suffix != ".pyc" and path.name != ".git":
                yield path


def imports_of(importer: str, node: ast.AST, *, at_load: bool = True) -> Iterator[Import]:
    """The imports of this package's modules below a node; what only a type checker sees is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "corecur":
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                of_package = (str(child.module), alias.name)
                yield Import(importer, *((whole, None) if whole in TREES else of_package), at_load)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                if alias.name.split(".")[0] == "corecur":
                    yield Import(importer, alias.name, None, at_load)
        else:
            yield from imports_of(importer, child, at_load=at_load and not isinstance(child, ast.FunctionDef))


IMPORTS = [found for name, (_, tree) in TREES.items() for found in imports_of(name, tree)]


def top(module: str) -> str:
    """The row entry of the level table that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes of a module."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node


def names_defined(tree: ast.Module) -> set[str]:
    """The names that a module's own top-level statements give."""
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)}
    return found


# 1: one idea, one file, one hop


def test_no_stem_twice_and_no_drawers() -> None:
    stems = [path.stem for path in python_files("src/corecur") if path.stem != "__init__"]
    assert sorted(stems) == sorted(set(stems))
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    parts = [(part, path) for path in python_files(*CODE) for part in path.relative_to(ROOT).with_suffix("").parts]
    assert [path for part, path in parts if drawers & set(part.split("_"))] == []


def test_map_lists_exactly_the_files() -> None:
    rows = re.findall(r"^- `([^`]+)`:? +(\S.*)$", (ROOT / "docs" / "map.md").read_text("utf-8"), re.MULTILINE)
    listed = [name for name, _ in rows]
    assert len(listed) == len(set(listed))
    wanted = [path for path in python_files("src/corecur", "examples") if path.stat().st_size]
    wanted += (ROOT / "docs").glob("*.md")
    assert {path.relative_to(ROOT).as_posix() for path in wanted} - set(listed) == set(), "missing in docs/map.md"
    assert [name for name in listed if not (ROOT / name).exists()] == [], "in docs/map.md, but not there"


# 2: few deep modules


def body_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
    return (function.end_lineno or 0) - first.lineno + 1


def test_files_and_functions_stay_within_their_budgets() -> None:
    long = []
    for path in python_files(*CODE):
        text, place = path.read_text("utf-8"), path.relative_to(ROOT).as_posix()
        if text.count("\n") > MOST_LINES:
            long.append(place)
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        long += [f"{place}:{node.name}" for node in functions if body_lines(node) > MOST_BODY_LINES]
    assert sorted(long) == sorted(LONGER)


# 3: imports point one way, from the defining file


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in TREES}
    for found in IMPORTS:
        if found.at_load:
            graph[found.importer].add(found.module)
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, with the cycle


def test_every_module_has_a_level() -> None:
    assert {top(name) for name in TREES} == {name for row in LEVELS for name in row}


def test_imports_point_downwards() -> None:
    level = {name: number for number, row in enumerate(LEVELS) for name in row}
    wrong = set()
    for found in IMPORTS:
        source, target = top(found.importer), top(found.module)
        lazily = not found.at_load and (source, target) in UPWARDS_AT_FIRST_USE
        if source != target and level[target] >= level[source] and not lazily:
            wrong.add((found.importer, found.module))
    assert wrong == set()


def test_imports_come_from_the_defining_file() -> None:
    wrong = set()
    for found in IMPORTS:
        path, tree = TREES[found.module]
        if path.name == "__init__.py" and found.module != found.importer:
            last = None if found.name is None else found.name
            named = {(found.importer, last), (found.importer, found.module.rpartition(".")[2])}
            if not named & PACKAGES_AS_SOURCE:
                wrong.add((found.importer, found.module, found.name))
        elif found.name is not None and found.importer not in FACES and found.name not in names_defined(tree):
            wrong.add((found.importer, found.module, found.name))
    assert wrong == set()


# 4: the public surface is one sorted list


def test_public_names_are_sorted_and_complete() -> None:
    import corecur

    assert corecur.__all__ == sorted(corecur.__all__)
    _, tree = TREES["corecur"]
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    own = [node for node in imports if str(node.module).split(".")[0] == "corecur"]
    assert set(corecur.__all__) == {alias.asname or alias.name for node in own for alias in node.names}
    assert all(hasattr(corecur, name) for name in corecur.__all__)


def test_layers_face_is_sorted_and_complete() -> None:
    from corecur import layers

    assert layers.__all__ == sorted([*layers.LAYERS, "LAYERS", "Layer"])
    assert list(layers.LAYERS) == sorted(layers.LAYERS)


# 5: importing does nothing

HEAVY = ("sklearn", "matplotlib", "PIL", "pooch", "pandas", "rich.progress", "typer", "torch.utils.tensorboard")
IMPORT_EVERYTHING = """
import importlib, json, os, sys, threading, warnings
import torch
def threads():
    tasks = "/proc/self/task"
    return len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()
before = threads()
warnings.simplefilter("error")
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({"loaded": sorted(sys.modules), "threads": threads() - before}))
"""


def test_importing_loads_nothing_heavy_and_leaves_nothing(tmp_path: Path) -> None:
    command = {"cli", "commands", "__main__"}
    modules = [name for name in TREES if top(name) not in command]
    folders = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    settings = folders | {"PYTHONPATH": str(ROOT / "src")}
    found = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_EVERYTHING, *modules],
        cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert [name for name in result["loaded"] if name in HEAVY] == []
    assert result["threads"] == 0
    assert list(tmp_path.iterdir()) == []
    assert found.stderr == ""


# 8 and 10: no swallowed exceptions, no asserts for users


def test_broad_handlers_raise_again_and_nothing_asserts() -> None:
    wrong = []
    for name, (_, tree) in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assert):
                wrong.append(f"{name}:{node.lineno} assert")
            elif isinstance(node, ast.ExceptHandler):
                caught = "" if node.type is None else ast.unparse(node.type)
                broad = not caught or {"Exception", "BaseException"} & set(re.findall(r"\w+", caught))
                if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                    wrong.append(f"{name}:{node.lineno} except {caught}")
    assert wrong == []


# 9: one table, the rest derived


@pytest.fixture(scope="module")
def everything() -> None:
    for name in TREES:
        importlib.import_module(name)


def leaves(base: type) -> set[type]:
    """The classes of this package below ``base`` that have none below them."""
    below = [cls for cls in base.__subclasses__() if cls.__module__.split(".")[0] == "corecur"]
    return {base} if not below else set().union(*(leaves(cls) for cls in below))


@pytest.mark.usefixtures("everything")
def test_tables_hold_every_leaf() -> None:
    from corecur.architecture import VALUES
    from corecur.engine.loss import Loss
    from corecur.engine.losses import LOSSES, FunctionLoss
    from corecur.engine.metric import Metric
    from corecur.engine.metrics import METRICS, FunctionMetric, LossMetric
    from corecur.engine.optimizer import Optimizer
    from corecur.engine.optimizers import OPTIMIZERS
    from corecur.engine.outputs import OutputMetric
    from corecur.engine.schedules import SCHEDULES, Schedule
    from corecur.layers import LAYERS
    from corecur.layers.initializers import Initializer
    from corecur.layers.layer import Layer
    from corecur.layers.regularizers import Regularizer
    from corecur.learners.text_heads import AverageAccuracy
    from corecur.models import Sequential

    assert leaves(Layer) - {Sequential} == set(LAYERS.values())
    assert leaves(Loss) - {FunctionLoss} == set(LOSSES.values())
    assert leaves(Metric) - {AverageAccuracy, FunctionMetric, LossMetric, OutputMetric} == set(METRICS.values())
    assert leaves(Optimizer) == set(OPTIMIZERS.values())
    assert leaves(Schedule) == set(SCHEDULES.values())
    assert leaves(Initializer) | leaves(Regularizer) == set(VALUES.values())


@pytest.mark.parametrize("face", ["callbacks", "losses", "metrics", "optimizers", "schedules"])
@pytest.mark.usefixtures("everything")
def test_a_face_lists_what_its_table_holds(face: str) -> None:
    module = importlib.import_module(f"corecur.engine.{face}")
    table = getattr(module, face.upper(), {})
    listed = getattr(module, "__all__", None)
    if listed is None:
        assert not table
        return
    assert {row.__name__ for row in table.values()} <= set(listed)
    assert all(hasattr(module, name) for name in listed)


def test_every_augmentation_is_a_recipe_setting() -> None:
    from corecur.data.augment import Augmentation
    from corecur.learners.image_recipe import ImageRecipe

    inner = {"alternate_flip"}  # a way of drawing, not an augmentation
    assert Augmentation.__dataclass_fields__.keys() - inner <= ImageRecipe.model_fields.keys()


# 14 and 17: what a reader and a machine rely on in every file


def test_every_module_defers_annotations() -> None:
    bare = [name for name, (_, tree) in TREES.items() if "from __future__ import annotations" not in ast.unparse(tree)]
    exempt = {name for name in bare if not any(definitions(TREES[name][1]))}
    assert sorted(set(bare) - exempt) == []


def test_no_absolute_paths_and_no_registries() -> None:
    rules = (
        re.compile(r"(?<![\w.~/:>-])/(?:work|home|root|tmp)(?![\w-])"),
        re.compile(r"\b(?:pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.|crate[s]\.io|anacond[a]\.org|golan[g]\.org)"),
    )
    found = []
    for path in text_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for rule in rules for match in rule.finditer(text)]
    assert found == []


# 16: docstrings


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring of the package with its place."""
    for name, (_, tree) in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield f"{name}:{getattr(node, 'name', '')}", text


def test_modules_classes_and_functions_have_docstrings() -> None:
    bare = [name for name, (path, tree) in TREES.items() if path.stat().st_size and not ast.get_docstring(tree)]
    for name, (_, tree) in TREES.items():
        bare += [f"{name}.{node.name}" for node in definitions(tree) if not ast.get_docstring(node)]
    assert bare == []


def protocol_methods(tree: ast.Module) -> set[str]:
    """Documented methods of the protocols in a module: whoever has such a method does what stands there."""
    protocols = [
        n for n in definitions(tree) if isinstance(n, ast.ClassDef) and "Protocol" in map(ast.unparse, n.bases)
    ]
    methods = [inner for node in protocols for inner in node.body if isinstance(inner, ast.FunctionDef)]
    return {method.name for method in methods if ast.get_docstring(method)}


@pytest.mark.usefixtures("everything")
def test_public_methods_have_docstrings_of_their_own_or_of_a_base() -> None:
    bare = []
    for name, (_, tree) in TREES.items():
        known = protocol_methods(tree)
        for node in definitions(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            cls = getattr(sys.modules[name], node.name)
            methods = [inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)]
            public = [method for method in methods if not method.startswith("_") and method not in known]
            bare += [f"{name}.{node.name}.{m}" for m in public if not inspect.getdoc(getattr(cls, m))]
    assert bare == []


def test_no_two_docstrings_share_a_block() -> None:
    seen: dict[tuple[str, ...], str] = {}
    shared = set()
    for place, text in docstrings():
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for start in range(len(lines) - SHARED_LINES + 1):
            block = tuple(lines[start : start + SHARED_LINES])
            if seen.setdefault(block, place) != place:
                shared.add((seen[block], place))
    assert shared == set()


def test_examples_do_not_become_fewer() -> None:
    public = [ast.get_docstring(node) or "" for _, tree in TREES.values() for node in definitions(tree)]
    assert sum(">>>" in text for text in public) / len(public) >= EXAMPLE_SHARE


# CONTRIBUTING.md


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = re.findall(r"`((?:src|tests|docs|examples|bench)/[\w./-]+)`", text)
    named += [
        f"src/corecur/{name}" for name in re.findall(r"`((?:layers|engine|data|learners|report|bundle)/\w+\.py)`", text)
    ]
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_headings_do_not_skip_a_level() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        depths = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
        assert depths[0] == 1 and all(after <= before + 1 for before, after in pairwise(depths)), path.name
