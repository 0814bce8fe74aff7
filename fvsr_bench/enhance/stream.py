"""Runs the network over each followed face, one frame behind where it looks ahead."""

import time
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from fvsr_bench.enhance.follow import View
from fvsr_bench.infer import Precision, step_once, to_tensor


@dataclass
class _Session:
    """The state of one face, and the frame that waits for the one after it."""

    state: Any = None
    waiting: tuple[View, Tensor] | None = None


class FaceStream:
    """Fills in `View.sr`: at once for causal methods, one frame later for look-ahead 1."""

    def __init__(
        self,
        model: nn.Module,
        *,
        lookahead: int,
        device: torch.device | str,
        precision: Precision,
        window: int = 0,
    ) -> None:
        """`window`: px that larger windows are reduced to before the network; 0 = not."""
        self.model, self.lookahead = model, lookahead
        self.device, self.precision, self.window = device, precision, window
        self.faces: set[int] = set()  # numbers of all faces so far
        self.steps, self.seconds = 0, 0.0  # of the network alone
        self._sessions: dict[int, _Session] = {}

    def feed(self, rgb: np.ndarray, views: list[View]) -> None:
        """Take the faces of the next frame; those of the frame before are complete afterwards."""
        here = {view.face for view in views}
        for face in [face for face in self._sessions if face not in here]:
            self._end(face)
        for view in views:
            self.faces.add(view.face)
            if view.fresh:
                self._end(view.face)
            session = self._sessions.setdefault(view.face, _Session())
            crop = self._crop(rgb, view)
            if self.lookahead == 0:
                self._step(session, view, crop, None)
                continue
            if session.waiting is not None:
                self._step(session, *session.waiting, crop)
            session.waiting = (view, crop)

    def finish(self) -> None:
        """Complete the faces of the last frame."""
        for face in list(self._sessions):
            self._end(face)

    def _end(self, face: int) -> None:
        session = self._sessions.pop(face, None)
        if session is not None and session.waiting is not None:
            self._step(session, *session.waiting, None)

    def _crop(self, rgb: np.ndarray, view: View) -> Tensor:
        x, y, side = view.window
        crop = rgb[y : y + side, x : x + side]
        if 0 < self.window < side:
            crop = cv2.resize(crop, (self.window, self.window), interpolation=cv2.INTER_AREA)
        return to_tensor(np.ascontiguousarray(crop))[None].to(self.device)

    @torch.inference_mode()
    def _step(self, session: _Session, view: View, crop: Tensor, future: Tensor | None) -> None:
        start = time.perf_counter()
        sr, session.state = step_once(self.model, crop, session.state, future, self.precision)
        view.sr = sr.cpu()
        self.seconds += time.perf_counter() - start
        self.steps += 1
