"""Laws of following, streaming and pasting faces, with a detector that knows where they are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fvsr_bench import registry
from fvsr_bench.data.video import Frame
from fvsr_bench.enhance.follow import FADE, GRID, PATIENCE, SEARCH, Follower, View
from fvsr_bench.enhance.paste import MARGIN, mask
from fvsr_bench.enhance.stream import FaceStream
from fvsr_bench.faces.detector import Faces
from fvsr_bench.infer import stream, to_tensor

HEIGHT, WIDTH = 120, 200


class Oracle:
    """Finds what is drawn: faces are blue squares of any size on black."""

    def detect(self, frames: list[np.ndarray]) -> list[Faces]:
        return [self._one(frame) for frame in frames]

    def _one(self, frame: np.ndarray) -> Faces:
        boxes = []
        for value in np.unique(frame[..., 2][frame[..., 2] > 200]):
            near = np.abs(frame[..., 2].astype(int) - int(value)) < 3
            rows, columns = np.nonzero(near & (frame[..., 0] < 60))
            if len(rows) > 4 and value % 10 == 0:
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return Faces(
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            scores=np.ones(len(boxes), np.float32),
            landmarks=np.zeros((len(boxes), 5, 2), np.float32),
        )


def picture(*faces: tuple[int, int, int, int]) -> np.ndarray:
    """Draw faces (centre x, centre y, side, blue) on black."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y, side, blue in faces:
        rgb[max(0, y - side // 2) : y + side // 2, max(0, x - side // 2) : x + side // 2, 2] = blue
    return rgb


def follow(
    frames: list[np.ndarray], breaks: set[int] = frozenset()
) -> tuple[list[list[View]], Follower]:
    follower = Follower(Oracle(), min_face=24, max_face=100)  # type: ignore[arg-type]
    views = []
    for index, rgb in enumerate(frames):
        cut = "scene cut" if index in breaks else None
        views.append(follower.update(Frame(index=index, time=index / 25, rgb=rgb, breaks=cut)))
    return views, follower


def test_a_steady_face_keeps_one_window_and_starts_once() -> None:
    views, _ = follow([picture((100, 60, 40, 250))] * 12)
    assert {view.window for (view,) in views} == {(68, 28, 64)}
    assert [view.fresh for (view,) in views] == [True] + [False] * 11
    assert all(view.opacity == 1 for (view,) in views)


@pytest.mark.parametrize("speed", [1, 3, 6])
def test_a_moving_face_stays_in_its_window(speed: int) -> None:
    views, _ = follow([picture((40 + speed * t, 60, 40, 250)) for t in range(18)])
    for t, (view,) in enumerate(views):
        x, _, side = view.window
        assert side % GRID == 0
        assert x <= 40 + speed * t - 20
        assert 40 + speed * t + 20 <= x + side
        assert abs(view.centre[0] - 40 - speed * t) < 5


def test_people_enter_and_leave() -> None:
    stays, comes = (50, 60, 40, 250), (150, 60, 32, 220)
    frames = [picture(stays)] * 3 + [picture(stays, comes)] * 20 + [picture(comes)] * 12
    views, follower = follow(frames)
    assert follower.seen.faces == 2
    at = next(t for t, view in enumerate(views) if len(view) == 2)
    assert 3 <= at < 3 + SEARCH, "the next full search finds the newcomer"
    second = [view for frame in views[at:] for view in frame if view.face == 2]
    assert second[0].opacity == pytest.approx(1 / FADE), "blended in, not popped in"
    assert second[FADE].opacity == 1
    gone = [len(frame) for frame in views[23:]]
    assert gone[:PATIENCE] == [2] * PATIENCE
    assert gone[PATIENCE + 1 :] == [1] * len(gone[PATIENCE + 1 :])
    fading = [v.opacity for f in views[23 : 23 + PATIENCE] for v in f if v.face == 1]
    assert fading == sorted(fading, reverse=True)
    assert fading[-1] < 0.5


def test_a_cut_starts_everything_anew() -> None:
    views, follower = follow([picture((50, 60, 40, 250))] * 8, breaks={4})
    assert [view.fresh for (view,) in views] == [t in (0, 4) for t in range(8)]
    assert [view.face for (view,) in views] == [1] * 4 + [2] * 4
    assert views[4][0].opacity == 1
    assert follower.seen.faces == 2


def test_sizes_decide_who_is_enhanced() -> None:
    views, follower = follow([picture((30, 60, 20, 250), (140, 60, 110, 220))] * 3)
    assert not any(views)
    assert (follower.seen.tiny, follower.seen.large) == ({2}, {1}) or (
        follower.seen.tiny,
        follower.seen.large,
    ) == ({1}, {2})


def test_windows_stay_inside_the_frame() -> None:
    places = [(22, 22), (WIDTH - 22, HEIGHT - 22), (22, HEIGHT - 22)]
    for x, y in places:
        (views,), _ = follow([picture((x, y, 40, 250))])
        left, top, side = views.window if isinstance(views, View) else views[0].window
        assert 0 <= left <= WIDTH - side
        assert 0 <= top <= HEIGHT - side


@given(
    side=st.sampled_from([40, 48, 72]),
    dx=st.floats(-0.4, 0.4),
    dy=st.floats(-0.4, 0.4),
    scale=st.sampled_from([2, 4]),
)
def test_masks_are_soft_and_end_inside_the_window(
    side: int, dx: float, dy: float, scale: int
) -> None:
    centre = (10 + side / 2 + dx, 20 + side / 2 + dy)
    view = View(
        face=1, window=(10, 20, side), centre=centre, side=side / 1.5, opacity=1, fresh=False
    )
    soft = mask(view, scale)
    assert soft.shape == (side * scale, side * scale)
    assert soft.min() >= 0
    assert soft.max() == 1
    rim = (MARGIN - 1) * scale
    for edge in (soft[:rim], soft[-rim:], soft[:, :rim], soft[:, -rim:]):
        assert edge.max() == 0
    middle = side * scale // 2
    assert soft[middle, middle] == 1
    assert np.abs(np.diff(soft, axis=0)).max() < 0.25


@pytest.mark.parametrize("method", ["fapn", "frvsr", "vespcn"])
def test_a_followed_face_is_the_streamed_clip(method: str) -> None:
    """The faces of a video are what the method makes of the clip of its windows."""
    torch.manual_seed(0)
    options = {"width": 8} | ({"hidden": 4, "rcabs": 1, "reduction": 4} if method == "fapn" else {})
    model = registry.build(method, options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    lookahead = registry.load_spec(method).lookahead or 0
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(5)]
    faces = FaceStream(model, lookahead=lookahead, device="cpu", precision="fp32")
    views = [
        [
            View(face=f, window=(8 * f, 3 * t, 16), centre=(0, 0), side=10, opacity=1, fresh=t == 0)
            for f in (1, 2)
            if f == 1 or t < 3  # the second person leaves
        ]
        for t in range(5)
    ]
    for rgb, seen in zip(frames, views, strict=True):
        faces.feed(rgb, seen)
    faces.finish()
    for face, count in ((1, 5), (2, 3)):
        crops = [
            to_tensor(np.ascontiguousarray(rgb[3 * t : 3 * t + 16, 8 * face : 8 * face + 16]))[None]
            for t, rgb in enumerate(frames[:count])
        ]
        expected = list(stream(model, crops, lookahead=lookahead))
        got = [view.sr for seen in views for view in seen if view.face == face]
        assert len(got) == count
        for one, other in zip(got, expected, strict=True):
            assert one is not None
            torch.testing.assert_close(one, other.detach(), atol=1e-5, rtol=0)
    assert faces.steps == 8
