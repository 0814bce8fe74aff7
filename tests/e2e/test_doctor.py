"""The doctor says what is there, what is missing and what brings it; comforts of the CLI."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TABLES = {
    *("run", "score", "models", "report", "doctor", "enhance", "export", "compare", "claims"),
    *("ablate", "data prepare", "data show", "weights list"),
}


def test_it_reports_every_group(cli: Callable, cache_dir: Path) -> None:
    answer = cli("doctor", "--no-test", "--json")
    checks = json.loads(answer.out)
    assert {"versions", "machine", "folders", "features"} == {check["group"] for check in checks}
    value = {check["name"]: check["value"] for check in checks}
    import torch

    assert value["torch"] == torch.__version__.split("+")[0]
    assert str(torch.get_num_threads()) in value["threads"]
    assert str(cache_dir) in value["cache ($FVSR_BENCH_CACHE)"]


def test_what_is_missing_has_the_command_that_brings_it(
    cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def without_onnx(name: str, package: str | None = None) -> object:
        return None if name == "onnxscript" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_onnx)
    answer = cli("doctor", "--no-test")
    (line,) = [line for line in answer.out.splitlines() if "export --onnx" in line]
    assert "missing" in line
    assert "needs onnxscript" in line
    assert "pip install -e '.[onnx]'" in line
    assert "\x1b" not in answer.out, "no colours where there is no terminal"


def test_a_failing_self_test_is_a_failure(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from fvsr_bench.doctor import selftest

    def breaks() -> str:
        raise RuntimeError("no such thing")

    quick = {"video: lossless round trip": selftest.TESTS["video: lossless round trip"]}
    monkeypatch.setattr(selftest, "TESTS", {**quick, "breaks": breaks})
    answer = cli("doctor", "--json")
    assert answer.code == 1
    assert "1 check(s) failed: breaks" in answer.err
    tests = [check for check in json.loads(answer.out) if check["group"] == "self-test"]
    assert [check["state"] for check in tests] == ["ok", "failed"]
    assert "no such thing" in tests[1]["value"]


BROKEN = {  # module that is missing -> self-tests that do well without it
    "dlib": {"a method on one clip", "MTCNN finds a face", "video: lossless round trip"},
    "cv2": {"PSNR of a known error", "streaming = whole clip"},
    "torch": set(),
}


@pytest.mark.parametrize("module", BROKEN)
def test_a_missing_package_is_reported_and_the_rest_is_looked_at(module: str) -> None:
    program = f"import sys; sys.modules['{module}'] = None; from fvsr_bench.cli import run; "
    program += "sys.exit(run(['doctor', '--json']))"
    command = [sys.executable, "-c", program]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "check(s) failed" in answer.stderr
    assert "Traceback" not in answer.stderr
    checks = json.loads(answer.stdout)
    assert {check["group"] for check in checks} == {
        *("versions", "machine", "folders", "features", "self-test")
    }
    tests = {c["name"]: c for c in checks if c["group"] == "self-test"}
    assert BROKEN[module] <= {name for name, check in tests.items() if check["state"] == "ok"}
    assert module in tests["dlib encodes a face"]["value"]
    assert tests["dlib encodes a face"]["state"] == "failed"


def test_every_command_that_prints_a_table_has_json() -> None:
    from typer.main import get_command

    from fvsr_bench.cli import app

    root = get_command(app)
    for name in sorted(TABLES):
        command = root
        for word in name.split():
            command = command.commands[word]  # type: ignore[attr-defined]
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, name


def test_the_shell_can_complete_commands() -> None:
    from typer.main import get_command

    from fvsr_bench.cli import app

    options = {option for parameter in get_command(app).params for option in parameter.opts}
    assert "--install-completion" in options


def test_speed_is_measured_where_a_method_streams(method_file: Callable) -> None:
    from fvsr_bench.speed import measure_speed

    speed = measure_speed("dummy")
    assert speed.fp32 is not None
    assert speed.bf16 is not None
    assert min(speed.fp32, speed.bf16) > 0
    whole = measure_speed(str(method_file("whole")))
    assert (whole.fp32, whole.bf16) == (None, None)
    assert "whole clip" in whole.reason
