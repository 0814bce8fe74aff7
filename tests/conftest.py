"""What every test shares: shapes are checked, one thread per worker, a cache folder of its own."""

import os
import tempfile
from pathlib import Path

# Two workers share two cores. Set before torch is imported, and inherited by every child process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from filelock import FileLock
from hypothesis import settings
from jaxtyping import install_import_hook

# The modules that compute on tensors. Shapes in their signatures are checked under pytest only.
# (The rest is left alone: its string annotations name types that are imported for mypy only.)
SHAPE_CHECKED = [
    "fvsr_bench.color",
    "fvsr_bench.degrade",
    "fvsr_bench.nn",
    "fvsr_bench.losses",
    "fvsr_bench.infer",
    "fvsr_bench.metrics",
    "fvsr_bench.faces",
    "fvsr_models",
    "fvsr_baselines",
]
install_import_hook(SHAPE_CHECKED, "beartype.beartype")

settings.register_profile("fvsr", deadline=None)  # a busy machine is no failure
settings.load_profile("fvsr")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Make the session the same everywhere: a cache of its own, nobody's settings, the CPU.

    Tests marked `gpu` are those of `pytest -m gpu`.
    """
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "FVSR_BENCH_DEBUG", "FVSR_BENCH_WEIGHTS"):
        os.environ.pop(name, None)
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # floats of a GPU round to other 8-bit values
    if not hasattr(config, "workerinput"):  # xdist's workers inherit the environment
        keep = os.environ.get("FVSR_BENCH_TEST_CACHE")  # a folder to keep, for quick single tests
        config.stash[_CACHE] = cache = tempfile.TemporaryDirectory(prefix="fvsr-bench-tests-")
        os.environ["FVSR_BENCH_CACHE"] = keep or cache.name


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the session's cache folder."""
    if cache := config.stash.get(_CACHE, None):
        cache.cleanup()


_CACHE = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Return the cache folder that all workers and child processes of this session share."""
    return Path(os.environ["FVSR_BENCH_CACHE"])


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the checkout that the tests belong to."""
    return ROOT


@pytest.fixture(scope="session")
def shared_clips() -> Path:
    """Return the folder of public clips, or skip: the project must not depend on it."""
    folder = Path(os.environ.get("FVSR_SHARED_CLIPS", ROOT.parent / "shared" / "clips"))
    if not (folder / "manifest.csv").exists():
        pytest.skip("no public clips here: set FVSR_SHARED_CLIPS to a folder with manifest.csv")
    return folder


@pytest.fixture(scope="session")
def session_lock(cache_dir: Path) -> FileLock:
    """Return a lock between the workers, for whatever is made once and used by all."""
    return FileLock(cache_dir / "tests.lock")


@pytest.fixture(scope="session")
def demo_dataset(session_lock: FileLock):
    """Return the embedded demo set, made once for all workers."""
    from fvsr_bench.data.store import open_dataset

    with session_lock:
        return open_dataset("demo")
