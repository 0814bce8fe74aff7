"""No file that a user is given may run code: every reader in the tree is one that cannot."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FORBIDDEN = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("joblib.load", "shelve.open", "pandas.read_pickle", "pd.read_pickle", "yaml.load"),
    *("torch.jit.load", "torch.hub.load", "eval", "exec"),
}
# function -> (keyword, its safe value, what it is when left out)
CAREFUL: dict[str, tuple[str, bool, bool]] = {
    "torch.load": ("weights_only", True, False),
    "np.load": ("allow_pickle", False, False),
    "numpy.load": ("allow_pickle", False, False),
}
FOLDERS = ("fvsr_bench", "models", "baselines", "benchmarks")


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def offences(source: str) -> list[str]:
    """List the calls that could run code from a file."""
    return [
        f"line {call.lineno}: {ast.unparse(call)}"
        for name, call in calls(ast.parse(source))
        if name in FORBIDDEN or (name in CAREFUL and not careful(call, *CAREFUL[name]))
    ]


def careful(call: ast.Call, keyword: str, safe: bool, default: bool) -> bool:
    given = [k.value for k in call.keywords if k.arg == keyword]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return (value if given else default) is safe


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_reader_runs_code(project_root: Path, folder: str) -> None:
    found = {
        str(file.relative_to(project_root)): lines
        for file in sorted((project_root / folder).rglob("*.py"))
        if (lines := offences(file.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pickle.load(file)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "eval(text)",
    ],
)
def test_what_is_looked_for_is_seen(source: str) -> None:
    assert offences(source)


def test_safe_readers_pass() -> None:
    source = "torch.load(path, map_location='cpu', weights_only=True)\nnp.load(path)\n"
    assert offences(source + "np.load(path, allow_pickle=False)\nmodel.eval()\n") == []
