"""Frames of any other program are scored as ours are, and nothing that does not fit passes."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from fvsr_bench.data.export import write_lossless_video
from fvsr_bench.data.files import write_frames
from fvsr_bench.data.store import open_dataset


def bicubic(lr: np.ndarray) -> np.ndarray:
    """Enlarge with torch itself, not through this package."""
    x = torch.from_numpy(lr).permute(0, 3, 1, 2).float() / 255
    up = torch.nn.functional.interpolate(x, scale_factor=4, mode="bicubic", antialias=True)
    return up.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.fixture
def theirs(tiny: Path, tmp_path: Path) -> Path:
    """Return a folder with bicubic frames of all test clips, as another program would write it."""
    dataset = open_dataset(tiny)
    for clip_id in dataset.clip_ids("test"):
        write_frames(tmp_path / "theirs" / clip_id, bicubic(dataset.load(clip_id).lr))
    return tmp_path / "theirs"


@pytest.fixture
def refused(cli: Callable, tiny: Path, tmp_path: Path) -> Callable[..., str]:
    """Return a function that scores a folder, expects a refusal and returns its line."""

    def call(folder: Path, *options: str) -> str:
        answer = cli("score", "--sr", folder, "-d", tiny, "-o", tmp_path / "out", *options)
        assert answer.code == 1, answer.out
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert not (tmp_path / "out").exists(), "a refused score writes nothing"
        return answer.err

    return call


def test_the_same_frames_get_the_same_records(
    cli: Callable, tiny: Path, theirs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cli("run", "-m", "bicubic", "-d", tiny, "-o", out).code == 0
    answer = cli("score", "--sr", theirs, "-d", tiny, "-o", out, "--name", "Cubic of X")
    assert answer.code == 0, answer.err
    assert "Cubic of X" in answer.out
    assert "Bicubic" in answer.out
    tables = {path.stem: pd.read_parquet(path) for path in (out / "records").glob("*.parquet")}
    ours, other = (
        next(t for name, t in tables.items() if name.startswith(prefix))
        for prefix in ("bicubic-", "Cubic-of-X-")
    )
    key = ["clip", "frame", "metric", "protocol"]
    both = ours.astype(dict.fromkeys(("clip", "metric", "protocol"), str)).merge(
        other.astype(dict.fromkeys(("clip", "metric", "protocol"), str)), on=key, validate="1:1"
    )
    assert len(both) == len(ours) == len(other) > 0
    np.testing.assert_array_equal(both["value_x"], both["value_y"])
    again = cli("score", "--sr", theirs, "-d", tiny, "-o", out, "--name", "Cubic of X")
    assert "nothing to do" in again.out


@pytest.mark.parametrize("codec", ["ffv1", "huffyuv", "libx264rgb", "png"])
def test_lossless_video_is_read_exactly(
    codec: str, cli: Callable, tiny: Path, theirs: Path, tmp_path: Path
) -> None:
    from fvsr_bench.score.frames import Found, read_clip

    frames = bicubic(open_dataset(tiny).load("clip0").lr)
    path = tmp_path / ("clip0.avi" if codec in ("huffyuv", "png") else "clip0.mkv")
    write_video(path, frames, codec)
    found = Found(clip="clip0", path=path)
    np.testing.assert_array_equal(read_clip(found, frames.shape, 1, False), frames)
    assert not found.lossy


def write_video(path: Path, frames: np.ndarray, codec: str, lossy: bool = False) -> None:
    """Write RGB frames with a codec; `lossy` takes a codec's usual YUV and quality."""
    kind = {"ffv1": "bgr0", "huffyuv": "rgb24", "libx264rgb": "rgb24", "png": "rgb24"}
    with av.open(str(path), "w") as container:
        options = {} if lossy or codec != "libx264rgb" else {"qp": "0"}
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = kind.get(codec, "yuv420p")
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("codec", ["libx264", "libx264rgb", "mpeg4", "libx265"])
def test_lossy_video_is_named_and_only_accepted_when_asked(
    codec: str, cli: Callable, tiny: Path, theirs: Path, refused: Callable, tmp_path: Path
) -> None:
    frames = cv2_read(theirs / "clip0")
    shutil.rmtree(theirs / "clip0")
    write_video(theirs / "clip0.mp4", frames, codec, lossy=True)
    message = refused(theirs)
    name = {"libx264": "h264", "libx264rgb": "h264", "libx265": "hevc"}.get(codec, codec)
    assert f"clip0.mp4 is {name}" in message
    assert "blurs" in message
    assert "--allow-lossy" in message
    if codec == "libx264":
        answer = cli(
            *("score", "--sr", theirs, "-d", tiny, "-o", tmp_path / "out", "--limit", 1),
            *("--allow-lossy", "-n", "X"),
        )
        assert answer.code == 0, answer.err
        assert "X †" in answer.out
        assert "lossy h264" in answer.out


def cv2_read(folder: Path) -> np.ndarray:
    """Read a clip's frames with OpenCV."""
    paths = sorted(folder.glob("*.png"))
    return np.stack([cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB) for p in paths])


def count(folder: Path) -> int:
    return len(list(folder.glob("*.png")))


def remove_frames(folder: Path) -> None:
    for number in (2, 4):
        (folder / f"{number:04d}.png").unlink()


def from_zero(folder: Path) -> None:
    for number in range(1, 1 + count(folder)):
        (folder / f"{number:04d}.png").rename(folder / f"{number - 1:04d}.png")


def one_more(folder: Path) -> None:
    shutil.copy(folder / "0001.png", folder / f"{1 + count(folder):04d}.png")


def image(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Return a mistake that rewrites frame 3."""

    def apply(folder: Path) -> None:
        path = str(folder / "0003.png")
        cv2.imwrite(path, change(cv2.imread(path)))

    return apply


def as_jpeg(folder: Path) -> None:
    path = folder / "0003.png"
    cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
    path.unlink()


def truncated(folder: Path) -> None:
    data = (folder / "0003.png").read_bytes()
    (folder / "0003.png").write_bytes(data[: len(data) // 2])


MISTAKES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "missing frames": (
        remove_frames,
        ("clip1: {n-2} frames, expected {n} (1..{n})", "missing 2, 4"),
    ),
    "numbered from 0": (
        from_zero,
        ("shifted by -1", "files 0..{n-1}, expected 1..{n}", "--first 0"),
    ),
    "one too many": (one_more, ("{n+1} frames, expected {n}", "too many {n+1}")),
    "a wrong size": (image(lambda x: x[:-1]), ("0003.png is 160x159 px; expected 160x160",)),
    "16 bit": (image(lambda x: x.astype(np.uint16) * 257), ("0003.png has 16 bit",)),
    "grey": (image(lambda x: x[..., 0]), ("0003.png is grey", "expected RGB")),
    "alpha": (
        image(lambda x: np.dstack([x, np.full(x.shape[:2], 255, np.uint8)])),
        ("0003.png is RGB with alpha",),
    ),
    "JPEG": (as_jpeg, ("0003.jpg is JPEG, which is lossy", "--allow-lossy")),
    "half a file": (truncated, ("0003.png cannot be read",)),
    "no frames": (lambda f: [p.unlink() for p in f.iterdir()], ("has no PNG files",)),
    "no folder": (shutil.rmtree, ("no frames of 1 of 3 clips, first 'clip1'",)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mismatch_is_named(mistake: str, theirs: Path, refused: Callable) -> None:
    make, expected = MISTAKES[mistake]
    n = count(theirs / "clip1")
    make(theirs / "clip1")
    message = refused(theirs)
    for text in expected:
        assert re.sub(r"\{n([-+]\d)?\}", lambda m: str(n + int(m[1] or 0)), text) in message


def test_frames_numbered_from_zero_are_scored_when_said_so(
    cli: Callable, tiny: Path, theirs: Path, tmp_path: Path
) -> None:
    for folder in theirs.iterdir():
        from_zero(folder)
    answer = cli(
        "score", "--sr", theirs, "-d", tiny, "-o", tmp_path / "out", "--first", 0, "--limit", 1
    )
    assert answer.code == 0, answer.err


def test_names_that_hold_other_numbers_are_understood(
    cli: Callable, tiny: Path, theirs: Path, tmp_path: Path
) -> None:
    """BasicSR writes 00000000_EDVR_M_x4_SR.png: the scale is no frame number."""
    for folder in theirs.iterdir():
        for path in sorted(folder.glob("*.png")):
            path.rename(folder / f"{int(path.stem):08d}_EDVR_M_x4_SR.png")
    out = tmp_path / "out"
    answer = cli("score", "--sr", theirs, "-d", tiny, "-o", out, "--judge", "temporal")
    assert answer.code == 0, answer.err
    assert "tOF (px) ↓" in (out / "judges.md").read_text()


def shifted(frames: np.ndarray) -> np.ndarray:
    return np.concatenate([frames[1:], frames[-1:]])


CONTENT = {
    "shifted in time": (shifted, "ground truth's frame t+1"),
    "late": (lambda f: np.concatenate([f[:1], f[:-1]]), "ground truth's frame t-1"),
    "BGR": (lambda f: f[..., ::-1], "red and blue are swapped"),
    "0 to 1": (lambda f: f // 255, "the frames are black"),
    "another clip": (lambda f: f[:, ::-1], "do not look like this clip"),
}


@pytest.mark.parametrize("kind", CONTENT)
def test_wrong_content_is_noticed(
    kind: str, cli: Callable, tiny: Path, theirs: Path, refused: Callable, tmp_path: Path
) -> None:
    change, expected = CONTENT[kind]
    for folder in sorted(theirs.iterdir()):
        write_frames(folder, np.ascontiguousarray(change(cv2_read(folder))))
    message = refused(theirs)
    assert expected in message
    assert "3 of 3 clips do not fit" in message
    if kind == "late":
        out = tmp_path / "out"
        answer = cli(
            "score", "--sr", theirs, "-d", tiny, "-o", out, "--allow-content", "--limit", 1
        )
        assert answer.code == 0, answer.err
        assert "1 of 1 clips look wrong" in answer.out


def test_video_of_another_length_size_or_kind(tiny: Path, theirs: Path, refused: Callable) -> None:
    frames = cv2_read(theirs / "clip2")
    shutil.rmtree(theirs / "clip2")
    path, n = theirs / "clip2.mkv", len(frames)
    for wrong, expected in (
        (frames[:-2], f"has only {n - 2} frames; expected {n}"),
        (np.concatenate([frames, frames]), f"has more than {n} frames; expected {n}"),
        (frames[:, :80, :80], "is 80x80 px; expected 160x160"),
    ):
        write_video(path, wrong, "ffv1")
        assert expected in refused(theirs)
    path.write_bytes(path.read_bytes()[:300])
    assert "cannot be decoded" in refused(theirs)


@pytest.mark.parametrize("layout", ["frames", "basicsr", "mp4"])
def test_export_has_exactly_our_pixels_and_comes_back(
    layout: str, cli: Callable, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "for-others"
    answer = cli("data", "export", tiny, "--format", layout, "-o", out)
    assert answer.code == 0, answer.err
    clip = open_dataset(tiny).load("clip2")
    if layout == "mp4":
        with av.open(str(out / "lr" / "clip2.mp4")) as container:
            lr = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
        ground_truth = out / "hr"
    else:
        lr = cv2_read(out / ("BIx4" if layout == "basicsr" else "lr") / "clip2")
        ground_truth = out / ("GT" if layout == "basicsr" else "hr")
    np.testing.assert_array_equal(lr, clip.lr)
    command = next(
        line for line in (out / "README.txt").read_text().splitlines() if "fvsr-bench score" in line
    )
    words = command.replace("ITS-OUTPUT", str(ground_truth)).replace("ITS-NAME", "GT").split()[1:]
    answer = cli(*words, "-o", tmp_path / "out", "--limit", 1)
    assert answer.code == 0, answer.err
    records = pd.read_parquet(next((tmp_path / "out" / "records").glob("GT-*.parquet")))
    psnr = records[(records.metric == "psnr") & (records.protocol == "rgb-c0")].value
    assert (psnr >= 100).all()
    assert cli("data", "export", tiny, "-o", out).code == 2


def test_export_refuses_an_unknown_format(cli: Callable, tiny: Path, tmp_path: Path) -> None:
    answer = cli("data", "export", tiny, "--format", "basicSR2", "-o", tmp_path / "x")
    assert answer.code == 2
    assert "basicsr" in answer.err


def test_a_video_at_a_broadcast_rate_keeps_its_pixels(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
    write_lossless_video(tmp_path / "a.mp4", frames, 30000 / 1001)
    with av.open(str(tmp_path / "a.mp4")) as container:
        back = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.01)
    np.testing.assert_array_equal(back, frames)
