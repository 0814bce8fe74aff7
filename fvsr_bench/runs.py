"""The folder of a training run: checkpoints that always load, the log, TensorBoard's events."""

import io
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from fvsr_bench.errors import UsageError, WeightsError
from fvsr_bench.files import write_atomic, writing

CHECKPOINT_FORMAT = 1


class Run:
    """A run folder: checkpoint.pt (the last good state), best.pt, log.jsonl, TensorBoard's events.

    The events are written where the package tensorboard is installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint, self.best = folder / "checkpoint.pt", folder / "best.pt"
        self.log = folder / "log.jsonl"
        self.board: Any = None
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def save(self, path: Path, state: dict[str, Any]) -> None:
        """Write a checkpoint atomically."""
        buffer = io.BytesIO()  # torch's own writer reports a full disk as a RuntimeError
        torch.save({"format": CHECKPOINT_FORMAT, **state}, buffer)
        write_atomic(path, buffer.getbuffer())

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes out; raises UsageError if one is training here."""
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"another process is training in {self.folder}; wait for it, or stop it first."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def load(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint without running code from it; raises WeightsError if it is no good."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch remarks on files that are not its own
                state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise WeightsError(
                f"checkpoint {path} cannot be read ({type(error).__name__}); delete it to restart."
            ) from error
        if not isinstance(state, dict):
            raise WeightsError(f"{path} holds no checkpoint of a training; delete it to restart.")
        if state.get("format", 0) > CHECKPOINT_FORMAT:
            raise WeightsError(f"checkpoint {path} is of a newer version; update fvsr-bench.")
        return dict(state)

    def cut_log(self, step: int) -> None:
        """Drop log lines after `step`, which a killed run wrote but did not keep."""
        if self.log.exists():
            rows = [r for r in self.log.read_text(encoding="utf-8").splitlines() if r.endswith("}")]
            kept = [row for row in rows if json.loads(row)["step"] <= step]
            write_atomic(self.log, "".join(f"{row}\n" for row in kept))

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one line to the log."""
        with writing(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.board is not None:
            for name, value in row.items():
                if name != "step":
                    self.board.add_scalar(name, value, row["step"])

    def open_board(self, step: int) -> None:
        """Write events for TensorBoard from now on, if it is installed; drop those after `step`."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(self.folder), purge_step=step + 1)

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self.board is not None:
            self.board.close()
