"""What is shipped, what it needs, and which way imports run."""

import ast
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"jitprop": ROOT / "src", "jitprop_kernels": ROOT / "kernels"}
RUN_TIME = {"numpy", "numba", "llvmlite"}  # llvmlite comes with Numba

# Modules of src/jitprop from the top; a module imports its own row and the rows below it.
# "__init__" stands where its re-exports put it: what is above may say `from jitprop import Network`.
LAYERS = (
    "cli __main__ commands",
    "compare lessons ladder rungs blas compiledloops parallelloops exercises demo info plots textplots",
    "datasets tablemodel targets encoding preprocessing readers tables",
    "distributed",
    "sklearn gradcheck trace",
    "__init__",
    "network",
    "training loop options steps recovery progress callbacks history optimizers schedules checkpoints storage",
    "modelfile files",
    "passes notation kernelsets initialization parameters examples architecture checks",
)
RANK = {module: row for row, modules in enumerate(LAYERS) for module in modules.split()}


def python_files(package: str) -> list[Path]:
    return sorted((PACKAGES[package] / package).rglob("*.py"))


def run(*arguments: str | Path, **environment: str) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was built from it."""
    directory = tmp_path_factory.mktemp("built")
    run("-m", "build", "--no-isolation", "--outdir", directory)
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_wheel_holds_both_packages_and_nothing_else(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        file.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for file in python_files(package)
    }
    assert sources <= names
    assert {"jitprop/py.typed", "jitprop_kernels/py.typed"} <= names
    assert {name.split("/")[0] for name in names} == set(PACKAGES)
    assert not [name for name in names if "test" in Path(name).name or name.endswith(".pyc")]


def test_wheel_says_what_it_is_and_needs(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    info = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
    metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    import jitprop

    assert metadata["Version"] == jitprop.__version__
    needs = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {line.split(">")[0] for line in needs} == {"numpy", "numba"}
    assert "jitprop = jitprop.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in archive.namelist()


def test_sdist_holds_what_a_developer_needs(built: Path):
    (path,) = built.glob("*.tar.gz")
    names = {name.partition("/")[2] for name in tarfile.open(path).getnames()}
    assert {"pyproject.toml", "Makefile", "README.md", "LICENSE", "tests/test_packaging.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", "dist/"))]


ALONE = """
import sys
allowed = set(sys.stdlib_module_names) | set(sys.argv[1].split(","))
sys.path[:0] = sys.argv[2:]

class OnlyRunTime:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, OnlyRunTime)

import numpy as np
import jitprop
assert jitprop.__file__.startswith(sys.argv[2]), jitprop.__file__

X = np.random.default_rng(0).standard_normal((4, 60)).astype(np.float32)
Y = (X[:1] * X[1:2] > 0).astype(np.int64)
net = jitprop.Network([4, 8, 1], output="sigmoid", seed=1)
cost = net.fit(X, Y, epochs=20, batch_size=16).cost
assert len(cost) == 20 and cost[-1] < cost[0], cost
assert net.predict(X).shape == (1, 60)
"""


def test_wheel_alone_imports_and_trains(wheel: Path, tmp_path: Path):
    """With NumPy and Numba and nothing else to import: -S hides the editable install of this checkout too."""
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path, wheel)
    homes = {str(Path(find_spec(name).origin).parent.parent) for name in RUN_TIME}
    run("-I", "-S", "-W", "error", "-c", ALONE, ",".join(RUN_TIME | set(PACKAGES)), tmp_path, *sorted(homes))


IMPORT = """
import sys
import numba
from numba.core import event
before = set(sys.modules)
with event.install_recorder("numba:compile") as compiled:
    import jitprop
assert not compiled.buffer, compiled.buffer
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names)))
"""


def test_import_compiles_nothing_and_needs_no_extra(tmp_path: Path):
    """The caches are empty directories, so nothing that was compiled can have been loaded instead."""
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    third_party = run("-c", IMPORT, JITPROP_CACHE_DIR=str(cache), NUMBA_CACHE_DIR=str(cache)).split()
    assert set(third_party) <= set(PACKAGES) | RUN_TIME
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_the_command_line_starts_without_numba():
    """Which takes longer to import than everything else together."""
    run("-c", "import sys, jitprop.cli; assert 'numba' not in sys.modules")


def runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that can run: not the body of `if TYPE_CHECKING:`, which only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from runs(node)


def imports(file: Path, root: Path, nodes=runs) -> Iterator[tuple[str, ...]]:
    """The dotted names that a file imports, made absolute: `from .a import b` in p is (p, a, b)."""
    here = file.relative_to(root).parts[:-1]
    for node in nodes(ast.parse(file.read_text(), file)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from ((*base, alias.name) for alias in node.names)


@pytest.mark.parametrize(
    "file", python_files("jitprop_kernels"), ids=lambda file: file.relative_to(ROOT).as_posix()
)
def test_kernels_import_numpy_and_numba_only(file: Path):
    allowed = sys.stdlib_module_names | RUN_TIME | {"jitprop_kernels"}
    found = {name[0] for name in imports(file, PACKAGES["jitprop_kernels"], nodes=ast.walk)}
    assert found <= allowed, f"{file.relative_to(ROOT)} imports {found - allowed}"


def place(name: tuple[str, ...]) -> str | None:
    """The module of jitprop that an import reaches, or None when it reaches none that has a place."""
    if name[0] != "jitprop" or name[1:] == ("__version__",):  # the version may be asked for anywhere
        return None
    return name[1] if len(name) > 1 and name[1] in RANK else "__init__"


@pytest.mark.parametrize("file", python_files("jitprop"), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_run_downwards(file: Path):
    module = file.relative_to(PACKAGES["jitprop"] / "jitprop").parts[0].removesuffix(".py")
    assert module in RANK, f"give {module} a place in LAYERS"
    for name in imports(file, PACKAGES["jitprop"]):
        reached = place(name)
        assert reached is None or RANK[reached] >= RANK[module], (
            f"{module} imports {'.'.join(name)} from above"
        )


def test_python_versions_are_stated_once_each():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [line.rpartition(" :: ")[2] for line in project["classifiers"] if " :: 3." in line]
    assert project["requires-python"] == f">={listed[0]},<3.{int(listed[-1][2:]) + 1}"
