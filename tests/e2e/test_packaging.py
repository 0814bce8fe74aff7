"""The wheel is the product: installed into a clean environment it needs nothing of the checkout.

A clean environment with its own torch would cost gigabytes for every run of the suite. Instead the
new environment reads the dependencies (and only those) from the one that runs the tests, through a
.pth file. Two rules of Python's `site` decide what comes from where: a folder named in a .pth file
is appended behind the environment's own site-packages, and .pth files *inside* such a folder
are not read. So the installed wheel comes first, and the finder of an editable installation, which
is a .pth file of the outer environment, never starts: `test_everything_comes_from_the_wheel`.
"""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

FOLDERS = {
    "fvsr_bench": "fvsr_bench",
    "models": "fvsr_models",
    "baselines": "fvsr_baselines",
    "weights": "fvsr_weights",
    "claims": "fvsr_claims",
}
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")


def run(command: list[str | Path], cwd: Path) -> str:
    """Run a command as a user elsewhere would; return what it prints, or fail with all it said."""
    keep = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=cwd, env=keep | {"NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the package is made of: building leaves files behind."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(project_root / name, copy)
    for name in FOLDERS:
        shutil.copytree(project_root / name, copy / name, ignore=LEFT_BEHIND)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive, and the wheel from that."""
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", out], cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` folder of a clean environment that holds the wheel."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", venv], cwd=venv.parent)
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", wheel], cwd=venv.parent)
    (inner,) = venv.glob("lib/python*/site-packages")
    (inner / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin"


def test_wheel_holds_the_whole_tree(wheel: Path, source: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, package in FOLDERS.items():
        for file in (source / folder).rglob("*"):
            if file.is_file() and file.suffix != ".md":
                name = f"{package}/{file.relative_to(source / folder).as_posix()}"
                assert name in inside, f"{folder}: {name} is not installed"
    roots = {name.partition("/")[0] for name in inside}
    extra = {root for root in roots if not root.endswith(".dist-info")} - set(FOLDERS.values())
    assert not extra, f"the wheel would also install {extra}"


def test_everything_comes_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    names = [*FOLDERS.values(), "torch"]
    code = f"""if True:
        import importlib, json
        from importlib.metadata import distribution
        places = {{name: importlib.import_module(name).__file__ for name in {names}}}
        places["metadata"] = str(distribution("fvsr-bench").locate_file(""))
        print(json.dumps(places))
    """
    places = json.loads(run([installed / "python", "-c", code], cwd=tmp_path))
    clean = str(installed.parent.resolve())
    assert not places.pop("torch").startswith(clean), "torch was meant to be borrowed"
    for name, place in places.items():
        assert str(Path(place).resolve()).startswith(clean), f"{name} comes from {place}"


def test_lists_methods_from_another_directory(installed: Path, tmp_path: Path) -> None:
    listing = run([installed / "fvsr-bench", "models"], cwd=tmp_path)
    for method in ("fapn", "bicubic", "vespcn", "frvsr", "sofvsr", "tecogan"):
        assert re.search(rf"\b{method}\b", listing), f"no {method} in\n{listing}"


def test_loads_every_weights_file(installed: Path, tmp_path: Path, source: Path) -> None:
    code = """if True:
        from fvsr_bench.registry import load_model, methods, weights_tags
        for method in methods():
            for tag in weights_tags(method):
                count = sum(p.numel() for p in load_model(method, tag).parameters())
                print(method, tag, count)
    """
    loaded = {tuple(line.split()[:2]) for line in _lines(installed, code, tmp_path)}
    committed = {(f.parent.name, f.stem) for f in source.glob("weights/*/*.safetensors")}
    assert loaded == committed


@pytest.mark.usefixtures("demo_dataset")
def test_runs_a_method_on_two_clips(installed: Path, tmp_path: Path) -> None:
    command = ["run", "--models", "bicubic", "--dataset", "demo", "--limit", "2", "--out", "out"]
    run([installed / "fvsr-bench", *command], cwd=tmp_path)
    code = """if True:
        import pandas
        records = pandas.read_parquet("out/records")
        values = records["value"].notna().sum()
        print(records["clip"].nunique(), records["model"].unique()[0], values)
    """
    clips, method, values = _lines(installed, code, tmp_path)[0].split()
    assert (clips, method) == ("2", "bicubic")
    assert int(values) >= 2 * 32 * 2, "PSNR and SSIM of every frame"


def _lines(installed: Path, code: str, cwd: Path) -> list[str]:
    return run([installed / "python", "-c", code], cwd=cwd).splitlines()


def test_every_import_is_declared(project_root: Path) -> None:
    """What the library imports is installed because it asked for it, not by grace of another.

    An import inside a function may also be of an extra: the command then says which one is missing.
    """
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = {need for extra in extras.keys() - {"test", "dev"} for need in extras[extra]}
    declared = {_normal(need) for need in project["dependencies"]}
    homes = {**importlib.metadata.packages_distributions(), "dlib": ["dlib-bin"]}
    own = set(FOLDERS.values()) | set(sys.stdlib_module_names)
    for folder in ("fvsr_bench", "models", "baselines"):
        for file in sorted((project_root / folder).rglob("*.py")):
            for name, inside in _imports(ast.parse(file.read_text())):
                allowed = declared | {_normal(need) for need in optional if inside}
                found = {_normal(home) for home in homes.get(name, [name])}
                assert name in own or found & allowed, f"{file} imports {name}; declare {found}"


def _imports(tree: ast.AST) -> set[tuple[str, bool]]:
    """Return (top-level name, inside a function) of all imports that no `try` guards."""
    found = set()
    waiting = [(tree, False)]
    while waiting:
        node, inside = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {(alias.name.partition(".")[0], inside) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add((node.module.partition(".")[0], inside))
        elif not isinstance(node, ast.Try):
            inside = inside or isinstance(node, ast.FunctionDef)
            waiting += [(child, inside) for child in ast.iter_child_nodes(node)]
    return found


def _normal(need: str) -> str:
    """Return the name of a requirement, as package indexes compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", need)[0]).lower()
