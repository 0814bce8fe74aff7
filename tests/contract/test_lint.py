"""The checkers that hold for the whole tree: style, types, and who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

METHOD_IMPORTS = {"fvsr_bench", "torch", "torchvision", "jaxtyping"}

CHECKS = {
    "ruff": ["ruff", "check"],
    "format": ["ruff", "format", "--check"],
    "mypy": ["mypy"],
    "layers": ["importlinter.cli", "lint"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_checker_is_content(check: str, project_root: Path) -> None:
    module, *arguments = CHECKS[check]
    command = [sys.executable, "-m", module, *arguments]
    if check == "layers":  # its module runs nothing when it is the main one
        command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def imported_roots(source: str) -> set[str]:
    """Return the top-level names that a module imports absolutely."""
    roots = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots.add((node.module or "").partition(".")[0])
    return roots


@pytest.mark.parametrize("folder", ["models", "baselines"])
def test_a_method_needs_only_torch(folder: str, project_root: Path) -> None:
    allowed = METHOD_IMPORTS | {f"fvsr_{folder}"} | set(sys.stdlib_module_names)
    for file in sorted((project_root / folder).rglob("*.py")):
        extra = imported_roots(file.read_text()) - allowed
        assert not extra, f"{file} imports {extra}; a method may import {sorted(METHOD_IMPORTS)}"


def test_files_with_shapes_keep_their_annotations(project_root: Path) -> None:
    """`from __future__ import annotations` turns shapes into strings that nobody checks."""
    for folder in ("fvsr_bench", "models", "baselines"):
        for file in sorted((project_root / folder).rglob("*.py")):
            source = file.read_text()
            if "from jaxtyping" in source:
                assert "from __future__ import annotations" not in source, file
