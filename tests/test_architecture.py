"""Laws of the layout: arrows point down, files are short, every public name is listed and documented."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import torch_rechub

ROOT = Path(torch_rechub.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(ROOT)], "torch_rechub."))

#: What each room may import besides itself.
GROUND = {"types", "arguments", "logs", "optional_libraries", "torch_private", "storage", "kernels", "report"}
BELOW = {
    "types": set(),
    "arguments": {"types"},
    "logs": set(),
    "optional_libraries": set(),
    "torch_private": set(),
    "storage": {"types", "logs", "torch_private"},
    "kernels": {"types", "optional_libraries", "torch_private"},
    "report": {"types", "arguments", "logs", "optional_libraries"},
    "basic": GROUND,
    "data": {*GROUND, "basic"},
    "optim": {*GROUND, "basic"},
    "models": {*GROUND, "basic"},
    "engine": {*GROUND, "basic", "data", "optim", "models"},
    "datasets": {*GROUND, "basic", "data", "optim", "models"},
}
BELOW["trainers"] = {*BELOW["engine"], "engine", "datasets"}
BELOW["serving"] = BELOW["export"] = {*BELOW["trainers"], "trainers"}
BELOW["testing"] = {*BELOW["trainers"], "trainers"}
BELOW["utils"] = {*BELOW["serving"], "serving", "export"}
#: What the lower rooms may import from outside; callbacks and trackers may import more, inside functions.
CORE = {"torch", "numpy", "__future__", "typing_extensions"}


#: Methods of torch's sparse tensors that are private; torch_private.py has a function for each.
SPARSE_PRIVATE = {"_indices", "_values", "_nnz", "_coalesced_"}
#: Files that still name private attributes of torch and have to move to torch_private.py.
PRIVATE_TORCH_TO_MOVE: set[str] = set()


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path, late: bool = True):
    """Every module that a file imports (type-checking imports aside); with late=False only those at its top level."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    nodes = ast.walk(tree) if late else tree.body
    for node in nodes:
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield str(node.module)


def test_arrows_point_down_only():
    """A room imports only rooms below it; siblings never import each other."""
    wrong = []
    for path in FILES:
        room = room_of(path)
        if room == "__init__":
            continue
        for module in imports_of(path):
            parts = module.split(".")
            if parts[0] == "torch_rechub" and len(parts) > 1 and parts[1] != room and parts[1] not in BELOW[room]:
                wrong.append(f"{path.relative_to(ROOT)} -> {module}")
    assert wrong == []


def test_lower_rooms_need_torch_and_numpy_only():
    """At their top level, the rooms up to basic import torch, numpy and the standard library, and storage also safetensors."""
    import sys

    wrong = []
    for path in FILES:
        if room_of(path) in {*BELOW["basic"], "basic"} and path.name != "numba_cpu.py":
            for module in imports_of(path, late=False):
                top = module.split(".")[0]
                if room_of(path) == "storage" and top == "safetensors":
                    continue
                if top not in CORE and top != "torch_rechub" and top not in sys.stdlib_module_names:
                    wrong.append(f"{path.relative_to(ROOT)} -> {module}")
    assert wrong == []


def torch_names_of(tree: ast.AST):
    """The local names of torch and its modules in a file: torch, nn, F, dist, Tensor, ..."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    yield alias.asname or "torch"
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "torch":
            yield from (alias.asname or alias.name for alias in node.names)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_torch_names_of(source: str):
    """Every private attribute of torch that a file names, and every operator of the undocumented ``torch.ops``."""
    tree = ast.parse(source)
    names = set(torch_names_of(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "torch":
            parts = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            yield from (part for part in parts if is_private(part))
        elif isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            if node.attr in SPARSE_PRIVATE or (parts[0] in names and (is_private(node.attr) or parts[:2] == ["torch", "ops"])):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch._foreach_mul_([], 2)",
        "import torch\nwith torch._C.DisableTorchFunctionSubclass(): pass",
        "import torch\ntorch.nn.modules._functions",
        "import torch\ntorch.ops.aten.add(1, 2)",
        "import torch.distributed as dist\ndist._get_default_group()",
        "from torch import nn\nnn.functional._canonical_mask",
        "from torch import distributed\ndistributed._broadcast_coalesced",
        "from torch._utils import _flatten_dense_tensors",
        "from torch.nn import _reduction",
        "grad._values()",
        "self.weight.grad._indices()[0]",
    ],
)
def test_private_names_of_torch_are_recognised(source):
    """Each way to name a private attribute of torch is recognised; public names and private attributes of other objects are not."""
    assert list(private_torch_names_of(source))
    assert not list(private_torch_names_of("import torch\ntorch.__version__; torch.nn.Linear(1, 1); self._table; values_()"))


def test_private_names_of_torch_are_in_one_file():
    """Only torch_private.py names private attributes of torch; a converted file is removed from the list of other files."""
    not_converted = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if path.name != "torch_private.py" and any(private_torch_names_of(path.read_text()))
    }
    assert not_converted == PRIVATE_TORCH_TO_MOVE


#: What each room inside `basic` may import of `basic`, besides itself.
INSIDE_BASIC = {
    "initializers": set(),
    "normalization": set(),
    "activation": {"normalization"},
    "features": {"initializers", "activation"},
    "batch": {"features", "initializers", "activation"},
    "layers": {"batch", "features", "initializers", "activation", "normalization"},
}
INSIDE_BASIC["loss_func"] = INSIDE_BASIC["metric"] = INSIDE_BASIC["tracking"] = {*INSIDE_BASIC["layers"], "layers"}
INSIDE_BASIC["callback"] = {*INSIDE_BASIC["metric"], "loss_func", "metric", "tracking"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_imports_of(path: Path):
    """The modules of the package that a file imports, type-checking imports included; ``from package import module`` is the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in inner]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "torch_rechub")


def test_arrows_point_down_inside_basic():
    """features, initializers, activation < batch < layers < {loss_func, metric, tracking} < callback."""
    wrong = []
    for path in (ROOT / "basic").rglob("*.py"):
        room = path.relative_to(ROOT / "basic").parts[0].removesuffix(".py")
        for module in package_imports_of(path) if room in INSIDE_BASIC else ():
            parts = module.split(".")
            if parts[1:2] == ["basic"] and len(parts) > 2 and parts[2] != room and parts[2] not in INSIDE_BASIC[room]:
                wrong.append(f"{path.relative_to(ROOT)} -> {module}")
    assert wrong == []


def test_no_circle_is_left():
    """No file imports itself through others, type-checking imports included (a package's list of its own rooms aside)."""
    graph = {module_of(path): {name for name in package_imports_of(path) if name != module_of(path)} for path in FILES}
    for lazy in ("torch_rechub", "torch_rechub.basic", "torch_rechub.utils"):
        graph.pop(lazy)
    settled: set[str] = set()
    while ready := {module for module, below in graph.items() if module not in settled and below & graph.keys() <= settled}:
        settled |= ready
    assert sorted(graph.keys() - settled) == []


def test_files_are_written_in_storage_only():
    """No other room opens a file for writing, creates a folder, or deletes one."""
    writing = {"write_text", "write_bytes", "mkdir", "unlink", "rmtree", "savefig", "touch"}
    wrong = []
    for path in FILES:
        if room_of(path) == "storage":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            of_storage = isinstance(node.func, ast.Name) and name == "write_text"
            opens = name == "open" and any(isinstance(a, ast.Constant) and set(str(a.value)) & set("wax+") for a in node.args[1:2])
            if opens or (name in writing and not of_storage):
                wrong.append(f"{path.relative_to(ROOT)}: {ast.unparse(node)[:60]}")
    assert wrong == []


def test_files_and_functions_are_short():
    """No file is longer than 300 lines, no function longer than 50 (its signature and docstring aside; compiled kernels excepted)."""
    wrong = []
    for path in FILES:
        text = path.read_text()
        if text.count("\n") > 300:
            wrong.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and "kernels" not in path.parts:
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if length > 50:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.name}: {length} lines")
    assert wrong == []


@pytest.mark.parametrize("name", [m for m in MODULES if not any(part.startswith("_") for part in m.split("."))])
def test_every_module_lists_its_public_names(name):
    """Every module has an explicit __all__ of names that exist (numba's kernels need numba)."""
    module = importlib.import_module(name)
    if name in {"torch_rechub.basic", "torch_rechub.models", "torch_rechub.utils"}:
        return  # folders of rooms, without names of their own
    assert isinstance(module.__all__, list), name
    missing = [public for public in module.__all__ if not hasattr(module, public)]
    assert missing == []


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name):
    """Public modules, classes, functions and methods have a docstring, except methods that override a documented one."""
    module = importlib.import_module(name)
    assert module.__doc__
    wrong = []
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)) or not thing.__module__.startswith("torch_rechub"):
            continue
        if not thing.__doc__:
            wrong.append(public)
        if inspect.isclass(thing):
            methods = {k: v for k, v in vars(thing).items() if not k.startswith("_") and inspect.isfunction(v)}
            wrong += [f"{public}.{k}" for k in methods if not inspect.getdoc(getattr(thing, k)) and k not in {"forward", "extra_repr"}]
    assert wrong == []


def test_library_never_prints():
    """The library never calls print."""
    for path in FILES:
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert not any(call.func.id == "print" for call in calls), path


def test_import_is_cheap():
    """Importing the package and its trainers imports no heavy optional library."""
    import subprocess
    import sys

    heavy = ["pandas", "polars", "pyarrow", "matplotlib", "sklearn", "numba", "tensorboard", "wandb"]
    script = (
        "import sys, torch; before = set(sys.modules)\n"
        "import torch_rechub.trainers, torch_rechub.models.ranking, torch_rechub.utils.data, torch_rechub.datasets\n"
        f"print([name for name in {heavy} if name in sys.modules and name not in before])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_rooms_are_reachable_after_a_bare_import():
    """``import torch_rechub`` does not import torch, and every room that it lists can be reached through it."""
    import subprocess
    import sys

    script = (
        "import sys, torch_rechub\n"
        "assert 'torch' not in sys.modules\n"
        "assert torch_rechub.trainers.CTRTrainer and torch_rechub.utils.data.DataGenerator and torch_rechub.basic.features.SparseFeature\n"
        "assert set(torch_rechub.__all__) == set(dir(torch_rechub))\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_test_files_have_names_of_their_own():
    """pytest imports test files by their names alone, so two of one name in different folders cannot be collected together."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
