"""The documents are true to the tree: modules, layers, links and make targets."""

import ast
import re
import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def architecture(project_root: Path) -> str:
    return (project_root / "docs" / "architecture.md").read_text(encoding="utf-8")


def first_sentence(file: Path) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert text, f"{file} has no docstring"
    return text.partition("\n")[0]


def test_architecture_has_a_line_for_every_module(architecture: str, project_root: Path) -> None:
    library = project_root / "fvsr_bench"
    modules = {f.name for f in library.glob("[!_]*.py")}
    modules |= {f"{f.parent.name}/" for f in library.glob("*/__init__.py")}
    table = architecture.partition("## The modules")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([\w./]+)` \|", table, re.M))
    assert modules == listed


def test_architecture_shows_the_layers_that_are_checked(
    architecture: str, project_root: Path
) -> None:
    config = tomllib.loads((project_root / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["id"] == "layers"]
    shown = architecture.partition("## Who may import whom")[2]
    (block,) = re.findall(r"```text\n(.*?)```", shown, re.DOTALL)
    assert block.splitlines() == layers


def test_every_module_says_what_it_is_for(project_root: Path) -> None:
    for folder in ("fvsr_bench", "models", "baselines", "tests", "benchmarks"):
        for file in (project_root / folder).rglob("*.py"):
            assert len(first_sentence(file)) > 15, file


def pages(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *root.glob("docs/*.md")])


def test_links_lead_somewhere(project_root: Path) -> None:
    for page in pages(project_root):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_in_the_documents_exist(project_root: Path) -> None:
    """Every `make x` and `fvsr-bench x` that a page shows is one that there is."""
    from typer.main import get_command

    from fvsr_bench.cli import app

    makefile = (project_root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    for page in pages(project_root):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.M):
            assert target in targets, f"{page.name}: make {target}"
        for command in re.findall(r"(?:^|`|bin/)fvsr-bench ([a-z]+)", text, re.M):
            assert command in commands, f"{page.name}: fvsr-bench {command}"


def test_options_in_the_documents_and_in_the_help_exist(project_root: Path) -> None:
    """Every option of every example is one of its command."""
    from typer.main import get_command

    from fvsr_bench.cli import app

    root = get_command(app)
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages(project_root)}
    waiting = list(root.commands.items())  # type: ignore[attr-defined]
    for name, command in waiting:
        texts[f"fvsr-bench {name} --help"] = command.help or ""
        waiting += getattr(command, "commands", {}).items()
    checked = 0
    for where, text in texts.items():
        for line in re.findall(r"fvsr-bench ([a-z][^`\n]*)", text):
            words = line.split("#")[0].replace("[", " ").replace("]", " ").split()
            command = root
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
            group = command is not root and hasattr(command, "commands")
            assert not (group and re.match(r"[a-z]", " ".join(words))), f"{where}: {line}"
            known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
            for word in words:
                if word.startswith("--") and len(word) > 2:
                    option = re.split(r"[=.,;:|)]", word)[0]
                    assert option in {*known, "--help"}, f"{where}: fvsr-bench {line}: {option}"
                    checked += 1
    assert checked > 100


def test_what_stands_in_results_was_measured_by_a_run_that_is_there(project_root: Path) -> None:
    import csv

    folders = [path.parent for path in project_root.glob("results/**/manifests")]
    assert folders
    for folder in folders:
        runs = {path.stem.rpartition("-")[2] for path in (folder / "manifests").glob("*-*.json")}
        for path in folder.glob("*.csv"):
            for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
                named = re.findall(r"\b[0-9a-f]{12}\b", row.get("run_id") or row.get("runs") or "")
                assert runs.issuperset(named), f"{path} shows a run that is gone: {named}"


def test_no_path_of_one_machine(project_root: Path) -> None:
    for page in pages(project_root):
        found = re.findall(r"(?:/home/|/work/|/tmp/|/root/)\S*", page.read_text(encoding="utf-8"))
        assert not found, f"{page.name} names {found}"


def test_included_tables_are_the_files_they_come_from(project_root: Path) -> None:
    """A block between `<!-- from PATH -->` and `<!-- end -->` is that file, word for word."""
    for page in pages(project_root):
        text = page.read_text(encoding="utf-8")
        for path, block in re.findall(r"<!-- from (\S+) -->\n(.*?)<!-- end -->", text, re.DOTALL):
            original = (project_root / path).read_text(encoding="utf-8")
            assert block.strip() == original.strip(), (
                f"{page.name} shows an older {path}: make docs"
            )
