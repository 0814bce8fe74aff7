"""Looks at the installation: versions, device, folders, what optional features lack."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from fvsr_bench.errors import FvsrError

State = Literal["ok", "missing", "failed", "info"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report."""

    group: str  # versions | machine | folders | features | self-test
    name: str
    state: State
    value: str
    advice: str = ""  # the command that brings what is missing


REINSTALL = "pip install -e ."  # in the checkout: brings every package that is needed
VERSIONS = ("fvsr-bench", "torch", "torchvision", "numpy", "av", "opencv-python", "pandas")
# feature, modules it needs, the command that brings them
FEATURES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("data prepare, enhance: MTCNN", ("facenet_pytorch",), "pip install facenet-pytorch"),
    ("face distance: dlib", ("_dlib_pybind11",), "pip install dlib-bin"),
    ("face distance: network", ("face_recognition_models",), "pip install face-recognition-models"),
    ("demo set: photographs", ("insightface", "skimage"), "pip install insightface scikit-image"),
    ("identity loss", ("onnx2torch",), "pip install onnx2torch"),
    (
        "export --onnx",
        ("onnx", "onnxscript", "onnxruntime"),
        "pip install -e '.[onnx]'",
    ),
    ("tests", ("pytest", "hypothesis", "xdist", "beartype"), "pip install -e '.[test]'"),
    ("browser tests of the report", ("selenium",), "pip install -e '.[test]'"),
)


def examine() -> Iterator[Check]:
    """Yield everything that can be said without computing; importing torch is the slow part."""
    groups = {
        "versions": _versions,
        "machine": _machine,
        "folders": _folders,
        "features": _features,
    }
    for group, look in groups.items():
        try:
            yield from look()
        except Exception as error:  # the doctor reports whatever is wrong, and looks further
            yield Check(
                group=group,
                name="the rest of this group",
                state="failed",
                value=said(error),
                advice=REINSTALL,
            )


def said(error: Exception) -> str:
    """Return an error in one line of the report."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _versions() -> Iterator[Check]:
    yield Check(group="versions", name="python", state="ok", value=platform.python_version())
    for name in VERSIONS:
        try:
            yield Check(group="versions", name=name, state="ok", value=metadata.version(name))
        except metadata.PackageNotFoundError:
            yield _version_missing(name)


def _version_missing(name: str) -> Check:
    if name == "opencv-python" and importlib.util.find_spec("cv2"):
        return Check(group="versions", name=name, state="ok", value="another build of OpenCV")
    return Check(
        group="versions",
        name=name,
        state="missing",
        value="not installed",
        advice=REINSTALL if name == "fvsr-bench" else f"pip install {name}",
    )


def _machine() -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        names = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
        device = f"cuda: {', '.join(names)}"
    else:
        device = "mps" if torch.backends.mps.is_available() else "cpu"
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    terminal = "colours off (NO_COLOR)" if "NO_COLOR" in os.environ else "colours on a terminal"
    for name, value in (
        ("system", system),
        ("device (--device auto)", device),
        ("threads", threads),
        ("bf16", _bf16(torch.backends.cpu.get_cpu_capability())),
        ("output", terminal if sys.stdout.isatty() else "not a terminal: plain text"),
    ):
        yield Check(group="machine", name=name, state="info", value=value)


def _bf16(capability: str) -> str:
    return f"CPU kernels {capability}; --precision bf16 pays where the CPU has AVX-512 or AMX"


def _folders() -> Iterator[Check]:
    from fvsr_bench import registry
    from fvsr_bench.data.demo import cache_dir, demo_ready

    yield _folder("cache ($FVSR_BENCH_CACHE)", cache_dir())
    yield Check(
        group="folders",
        name="demo set",
        state="ok" if demo_ready() else "info",
        value="made" if demo_ready() else "not made yet (made at first use)",
        advice="" if demo_ready() else "fvsr-bench data demo",
    )
    for folder in dict.fromkeys(path.resolve() for path in registry.weight_folders()):
        if folder.is_dir():
            yield _folder("weights", folder)
    trained: list[str] = []
    without: list[str] = []
    for name in registry.methods():
        try:
            spec = registry.load_spec(name)
        except FvsrError as error:
            yield Check(group="folders", name=name, state="failed", value=str(error))
            continue
        if spec.trainable and not spec.hidden:
            (trained if registry.weights_tags(name) else without).append(name)
    yield Check(
        group="folders",
        name="trained methods",
        state="ok" if trained else "missing",
        value=", ".join(trained) or "none",
    )
    for name in without:
        advice = f"fvsr-bench train {name} --data DIR"
        yield Check(
            group="folders", name=f"weights of {name}", state="missing", value="none", advice=advice
        )
    yield _folder("results and data", Path.cwd())


def _folder(name: str, path: Path) -> Check:
    """Say where a folder is, and how much room its disk has."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    free = shutil.disk_usage(there).free / 1e9
    writable = os.access(there, os.W_OK)
    value = f"{path.resolve()} ({free:.0f} GB free{'' if writable else ', read-only'})"
    return Check(group="folders", name=name, state="info", value=value)


def _features() -> Iterator[Check]:
    for name, modules, command in FEATURES:
        lacking = [module for module in modules if importlib.util.find_spec(module) is None]
        yield Check(
            group="features",
            name=name,
            state="missing" if lacking else "ok",
            value=f"needs {', '.join(lacking)}" if lacking else "there",
            advice=command if lacking else "",
        )
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    yield Check(
        group="features",
        name="browser for those tests",
        state="ok" if browser else "missing",
        value=browser or "no chromium",
        advice="" if browser else "apt install chromium chromium-driver",
    )
