"""The command line as a whole: light to start, helpful alone, quiet where it should be."""

import json
import os
import subprocess
import sys

import pytest

import fvsr_bench
from fvsr_bench import cli as command_line


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["plot", "--help"], []])
def test_help_imports_nothing_heavy(args):
    code = (
        f"import sys; from fvsr_bench.cli import run; code = run({args!r});"
        "heavy = {'torch', 'pandas', 'matplotlib', 'cv2'} & set(sys.modules);"
        "print(); print(code, sorted(heavy))"
    )
    assert python(code).splitlines()[-1] == "0 []"


def test_importing_the_package_is_light_and_its_names_work():
    code = (
        "import sys, fvsr_bench; print('torch' in sys.modules, sorted(fvsr_bench.__all__));"
        "fvsr_bench.load_model('bicubic'); print('torch' in sys.modules)"
    )
    names = ["__version__", "load_model", "open_dataset"]
    assert python(code) == f"False {names}\nTrue\n"
    with pytest.raises(AttributeError, match="no attribute 'load_modle'"):
        _ = fvsr_bench.load_modle


def test_alone_it_shows_the_five_commands_most_people_need(cli):
    answer = cli()
    assert answer.code == 0
    assert answer.out.count("\n  fvsr-bench ") == 5


def test_every_command_shown_alone_exists(cli):
    for line in cli().out.splitlines():
        if line.startswith("  fvsr-bench "):
            words = line.split()[1:]
            path = words[: 2 if words[0] in ("data", "plot") else 1]
            assert cli(*path, "--help").code == 0, path


def test_version(cli):
    assert cli("--version").out == f"fvsr-bench {fvsr_bench.__version__}\n"


def test_all_commands_have_help_with_an_example():
    from typer.main import get_command

    def walk(command, path):
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*path, name])
        if not getattr(command, "commands", None):
            yield path, command.help or ""

    missing = [
        " ".join(path)
        for path, text in walk(get_command(command_line.app), [])
        if "fvsr-bench" not in text and path
    ]
    assert missing == []


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_closed_pipe_is_no_error(reader):
    command = f"'{sys.executable}' -m fvsr_bench --help | {reader}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


def test_no_colour_and_no_bar_when_nobody_looks(tiny, tmp_path, method_file):
    args = ["run", "-m", "bicubic", "-d", str(tiny), "-o", str(tmp_path / "out"), "--limit", "1"]
    env = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "fvsr_bench", *args],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_debug_shows_the_traceback(monkeypatch, tmp_path):
    from fvsr_bench.errors import DataError

    monkeypatch.setenv("FVSR_BENCH_DEBUG", "1")
    with pytest.raises(DataError):
        command_line.run(["report", "-r", str(tmp_path)])


def test_models_lists_every_visible_method_with_its_cost(cli, save_dummy):
    rows = {row["method"]: row for row in json.loads(cli("models", "--json").out)}
    assert "dummy" not in rows  # a hidden one
    assert rows["bicubic"]["parameters"] == 0
    assert rows["bicubic"]["trainable"] is False
    assert rows["fapn"]["parameters"] == 1_597_868
    assert rows["fapn"]["gmac_per_frame"] == pytest.approx(2.9, abs=0.05)
    assert all(row["licence"] for row in rows.values())
