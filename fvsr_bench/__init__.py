"""fvsr-bench: benchmark and reproduction harness for face video super-resolution.

`load_model`, `open_dataset` and `__version__` are looked up on first use, so that importing the
package stays light (no torch). Methods build on `fvsr_bench.spec` and `fvsr_bench.nn`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fvsr_bench.data.store import open_dataset as open_dataset
    from fvsr_bench.registry import load_model as load_model

    __version__: str

__all__ = ["__version__", "load_model", "open_dataset"]


def __getattr__(name: str) -> Any:
    """Import what `name` needs, now that it is needed (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("fvsr-bench")
        except PackageNotFoundError:  # run from a checkout that was never installed
            return "0+unknown"
    if name == "load_model":
        from fvsr_bench.registry import load_model

        return load_model
    if name == "open_dataset":
        from fvsr_bench.data.store import open_dataset

        return open_dataset
    raise AttributeError(f"module 'fvsr_bench' has no attribute '{name}'")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*globals(), *__all__])
