"""A video comes back larger with its faces super-resolved, and with everything else as it was."""

import gc
import json
import struct
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.reformatter import Colorspace
from skimage import data
from torch import nn

from fvsr_bench import registry
from fvsr_bench.data.video import EXACT, Frame, read_video
from fvsr_bench.enhance import Options, Summary, enhance
from fvsr_bench.enhance.paste import enlarge
from fvsr_bench.enhance.source import frames_of, inspect

SIZE = (128, 104)  # px: width, height
COUNT = 6


class Tint(nn.Module):
    """Bicubic in another colour: what it touched can be seen."""

    scale = 4

    def step(
        self, frame: torch.Tensor, state: object = None, future: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        up = torch.nn.functional.interpolate(frame, scale_factor=4, mode="bicubic", antialias=True)
        return up + torch.tensor([0.3, -0.2, 0.3])[:, None, None], {}


def film(count: int = COUNT, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Eileen Collins' face, about 45 px, seen by a moving camera."""
    photo = cv2.resize(data.astronaut()[:256, 90:400], None, fx=0.5, fy=0.5, interpolation=3)
    frames = []
    for t in range(count):
        x, y = 10 + 2 * t, 4 + t
        frames.append(np.ascontiguousarray(photo[y : y + size[1], x : x + size[0]]))
    return frames


def empty(count: int = COUNT) -> list[np.ndarray]:
    """A wall with moving light."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    one = np.stack([60 + x // 2, 80 + y // 2, 90 + 0 * x], axis=2)
    return [(one + 3 * t).astype(np.uint8) for t in range(count)]


def write(
    path: Path,
    frames: list[np.ndarray],
    *,
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    audio: str = "",
    colour: tuple[int, int, int, int] | None = None,
    gop: int = 12,
) -> Path:
    """Write frames as H.264, 25 fps or at `times` in ms, with a tone if `audio` names a codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "g": str(gop)})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        if colour:
            context = stream.codec_context
            context.colorspace, context.color_primaries = colour[:2]
            context.color_trc, context.color_range = colour[2:]
        tone = container.add_stream(audio, rate=16000) if audio else None
        for number, rgb in enumerate(frames):
            space = Colorspace.ITU709 if colour else Colorspace.ITU601
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame = frame.reformat(
                format=pixels, dst_colorspace=space, dst_color_range=colour[3] if colour else 1
            )
            frame.pts = times[number] if times else number * 40
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            for start in range(0, 640 * len(frames), 1024):
                wave = np.sin(np.arange(start, start + 1024) / 6).astype(np.float32)[None] * 0.2
                sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                sound.sample_rate, sound.pts = 16000, start
                container.mux(tone.encode(sound))
            container.mux(tone.encode(None))
    return path


def run(source: Path, out: Path, model: nn.Module | None = None, **options: object) -> Summary:
    """Enhance with bicubic (or another network) and these options."""
    network = model or registry.load_model("bicubic")
    return enhance(source, out, network, "Name", lookahead=0, options=Options(**options))


def pictures(folder: Path) -> np.ndarray:
    paths = sorted(folder.glob("*.png"))
    return np.stack([cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB) for p in paths])


def decoded(path: Path) -> np.ndarray:
    """Decode with rounding to the nearest level (swscale's default is a level too dark)."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return np.stack([f.to_ndarray(format="rgb24", interpolation=EXACT) for f in frames])


def packets(path: Path, kind: str) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        found = container.demux(getattr(container.streams, kind)[0])
        return [(p.pts, bytes(p)) for p in found if p.size]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video with a face, a tone, and tags."""
    return write(tmp_path_factory.mktemp("video") / "face.mp4", film(), audio="aac")


def test_bicubic_faces_cannot_be_told_from_the_frame(video: Path, tmp_path: Path) -> None:
    summary = run(video, tmp_path / "out")
    assert (summary.frames, summary.faces, summary.face_frames) == (COUNT, 1, COUNT)
    plain = np.stack([enlarge(frame, 4) for frame in decoded(video)])
    difference = np.abs(pictures(tmp_path / "out").astype(int) - plain)
    assert difference.max() <= 1


@pytest.mark.parametrize("scale", [4, 2])
def test_only_the_face_changes_and_it_does_everywhere(
    video: Path, tmp_path: Path, scale: int
) -> None:
    run(video, tmp_path / "out", Tint(), scale=scale)
    frames = decoded(video)
    changed = np.abs(
        pictures(tmp_path / "out").astype(int) - np.stack([enlarge(f, scale) for f in frames])
    ).max(axis=3)
    for t, mask in enumerate(changed):
        # the face's centre, measured on the photograph once: between the eyes and the mouth
        x, y = (67 - 10 - 2 * t) * scale, (60 - 4 - t) * scale
        inside = mask[y - 12 * scale : y + 12 * scale, x - 12 * scale : x + 12 * scale]
        assert np.median(inside) > 30
        rows, columns = np.nonzero(mask > 8)
        assert np.ptp(columns) < 80 * scale
        assert np.ptp(rows) < 80 * scale
    assert changed.shape[1:] == (SIZE[1] * scale, SIZE[0] * scale)


def test_sound_rate_and_note_are_there(video: Path, tmp_path: Path, cli: Callable) -> None:
    out = tmp_path / "out.mp4"
    answer = cli("enhance", video, "-o", out, "--model", "bicubic", "--json", "--compare")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["frames"] == COUNT
    assert packets(out, "audio") == packets(video, "audio")
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 25
        assert (stream.codec_context.name, stream.width) == ("h264", 4 * SIZE[0])
        comment = container.metadata["comment"]
    assert "estimated" in comment
    assert "no evidence" in comment
    plain = np.stack([enlarge(frame, 4) for frame in decoded(video)]).astype(int)
    assert np.abs(decoded(out) - plain).mean() < 2
    both = decoded(tmp_path / "out-compare.mp4")
    assert both.shape[2] == 2 * 4 * SIZE[0] + 4
    assert np.abs(both[:, :, : 4 * SIZE[0]] - plain).mean() < 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out-compare.mp4", "out.mp4"]


@pytest.mark.parametrize("span", [1, 2])
def test_colours_and_variable_frame_times_are_kept(tmp_path: Path, span: int) -> None:
    times = [0, 40, 70, 200, 210, 333]
    tags = (1, 1, 1, span)
    source = write(tmp_path / "a.mp4", film(), times=times, colour=tags)
    run(source, tmp_path / "b.mp4", codec="h265")
    with av.open(str(tmp_path / "b.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert context.name == "hevc"
        got = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tuple(map(int, got)) == tags
        frames = list(container.decode(video=0))
    assert [round(1000 * f.time) for f in frames] == times
    mean = decoded(tmp_path / "b.mp4").mean(axis=(0, 1, 2))
    np.testing.assert_allclose(mean, decoded(source).mean(axis=(0, 1, 2)), atol=1.5)


@pytest.mark.parametrize("codec", [("libx264rgb", "rgb24"), ("ffv1", "bgr0")])  # tagged, or not
@pytest.mark.parametrize(("height", "space"), [(104, 6), (720, 1)])  # BT.601, BT.709
def test_an_rgb_video_becomes_yuv_that_says_so(
    tmp_path: Path, codec: tuple[str, str], height: int, space: int
) -> None:
    y, x = np.mgrid[:height, :64]
    frame = np.stack([200 + 0 * x, 40 + x, 60 + 20 * y // height], axis=2).astype(np.uint8)
    source, tagged = tmp_path / "a.mkv", codec[0] == "libx264rgb"
    with av.open(str(source), "w") as container:
        stream = container.add_stream(codec[0], rate=25, options={"crf": "1"} if tagged else {})
        stream.width, stream.height, stream.pix_fmt = 64, height, codec[1]
        stream.codec_context.colorspace = 0 if tagged else 2
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    run(source, tmp_path / "b.mp4", scale=2)
    with av.open(str(tmp_path / "b.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert int(context.colorspace) == space
        assert "420p" in context.pix_fmt
    mean = decoded(tmp_path / "b.mp4").mean(axis=(0, 1, 2))
    np.testing.assert_allclose(mean, frame.mean(axis=(0, 1)), atol=1.5)


def test_odd_size_ten_bits_no_audio(tmp_path: Path) -> None:
    frames = film(3, (127, 101))
    source = write(tmp_path / "a.mkv", frames, pixels="yuv444p10le")
    summary = run(source, tmp_path / "b.mkv")
    assert any("10 bit" in note for note in summary.notes)
    out = decoded(tmp_path / "b.mkv")
    assert out.shape == (3, 404, 508, 3)
    assert np.abs(out.mean(axis=(0, 1, 2)) - np.stack(frames).mean(axis=(0, 1, 2))).max() < 2


def test_a_turned_video_is_written_upright(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", [np.rot90(f).copy() for f in film(2)])
    content = bytearray(source.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    width = struct.unpack(">I", content[at + 36 : at + 40])[0]
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, width, 0, 1 << 30)
    content[at : at + 36] = turned
    source.write_bytes(bytes(content))
    summary = run(source, tmp_path / "b.mp4")
    assert summary.faces == 1, "faces are looked for in the upright picture"
    assert any("upright" in note for note in summary.notes)
    upright = np.stack([enlarge(frame, 4) for frame in film(2)]).astype(int)
    assert np.abs(decoded(tmp_path / "b.mp4") - upright).mean() < 5


def test_what_is_not_enhanced_is_said(video: Path, tmp_path: Path) -> None:
    nobody = write(tmp_path / "wall.mp4", empty(2))
    summary = run(nobody, tmp_path / "1")
    assert any("no face was found" in note for note in summary.notes)
    plain = np.stack([enlarge(frame, 4) for frame in decoded(nobody)])
    np.testing.assert_array_equal(pictures(tmp_path / "1"), plain)
    summary = run(video, tmp_path / "2", Tint(), min_face=80)
    assert summary.faces == 0
    assert any("below 80 px were left as they are" in note for note in summary.notes)
    summary = run(video, tmp_path / "3", Tint(), min_face=16, max_face=20)
    assert summary.faces == 0
    assert any("above 20 px were left" in note for note in summary.notes)


def test_a_damaged_middle_is_skipped_and_counted(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mp4", film(20), gop=4)
    sizes = packets(source, "video")
    content = source.read_bytes()
    for _, packet in sizes[9:11]:
        at = content.index(packet)
        content = content[:at] + b"\xff" * len(packet) + content[at + len(packet) :]
    source.write_bytes(content)
    summary = run(source, tmp_path / "b.mp4")
    assert summary.damaged >= 1
    assert 12 <= summary.frames < 20
    assert summary.frames + summary.lost_frames >= 18
    assert any("damaged" in note for note in summary.notes)
    assert len(decoded(tmp_path / "b.mp4")) == summary.frames


def test_damage_in_the_last_frames_takes_nothing_else_along(tmp_path: Path) -> None:
    """What is on its way through a decoder with many threads when the file ends is not lost."""
    source = write(tmp_path / "a.mp4", film(20), gop=4)
    content = source.read_bytes()
    for _, packet in packets(source, "video")[17:19]:
        content = content.replace(packet, b"\xff" * len(packet))
    source.write_bytes(content)
    read = list(read_video(source))
    assert [round(25 * frame.time) for frame in read] == [*range(17), 19]
    assert [frame.breaks for frame in read[-2:]] == [None, "undecodable data"]


def test_a_cut_in_a_folder_of_images_is_noticed(tmp_path: Path) -> None:
    for number, frame in enumerate([*film(4), *empty(4)]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame[..., ::-1])
    cuts = [frame.breaks for frame in frames_of(inspect(tmp_path, fps=3.0))]
    assert cuts == [None] * 4 + ["scene cut"] + [None] * 3


def test_images_come_back_under_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = ("shot 2", "shot 10", "shot 1")
    for name, frame in zip(names, film(3), strict=True):
        cv2.imwrite(str(folder / f"{name}.png"), frame[..., ::-1])
    summary = run(folder, tmp_path / "out")
    assert summary.frames == 3
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(names)
    back = cv2.imread(str(tmp_path / "out" / "shot 10.png"))[..., ::-1].astype(int)
    assert np.abs(back - enlarge(film(3)[1], 4)).max() <= 1
    run(folder, tmp_path / "out.mkv", fps=12.5)
    with av.open(str(tmp_path / "out.mkv")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, [0, 0.08, 0.16], atol=0.002)


def test_two_images_that_would_become_one_file_are_refused(tmp_path: Path, cli: Callable) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, frame in zip(("0001.png", "0001.jpg", "0002.png"), film(3), strict=True):
        cv2.imwrite(str(folder / name), frame[..., ::-1])
    answer = cli("enhance", folder, "-o", tmp_path / "out", "-m", "bicubic")
    assert answer.code == 2
    assert "0001.jpg and 0001.png would both become 0001.png" in answer.err
    assert not (tmp_path / "out").exists()
    assert run(folder, tmp_path / "out.mp4").frames == 3  # no names there, nothing to lose


def test_faces_only_writes_crops(video: Path, tmp_path: Path) -> None:
    run(video, tmp_path / "faces", faces_only=True)
    (face,) = (tmp_path / "faces").iterdir()
    assert face.name == "face-01"
    crops = pictures(face)
    assert len(crops) == COUNT
    assert crops.shape[1] == crops.shape[2]
    assert crops.shape[1] % 32 == 0
    run(video, tmp_path / "small", faces_only=True, face_size=40)
    assert pictures(tmp_path / "small" / "face-01").shape[1] == 160


def test_interrupted_it_leaves_nothing(
    video: Path, tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fvsr_bench.enhance.blend", stop)
    for out in ("a.mp4", "folder"):
        answer = cli("enhance", video, "-o", tmp_path / out, "-m", "bicubic", "--compare")
        assert answer.code == 130
        assert "was not written" in answer.err
    assert not list(tmp_path.iterdir())


REFUSED = {
    "there": (["-o", "{there}"], "exists"),
    "codec": (["-o", "x.mp4", "--codec", "h266"], "h265"),
    "webm": (["-o", "{new}.webm"], ".webm cannot hold h264; choose -o new.mkv"),
    "avi": (["-o", "{new}.avi", "--codec", "h265"], ".avi cannot hold h265; choose -o new.mkv"),
    "suffix": (["-o", "x.mp4", "--faces-only"], "folder"),
    "scale": (["-o", "x.mp4", "--scale", "3"], "expected 4 or 2"),
    "whole clip": (["-o", "x.mp4", "-m", "{method}"], "cannot stream"),
    "face size": (["-o", "x.mp4", "--face-size", "41"], "multiple of 8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused(
    case: str, video: Path, tmp_path: Path, cli: Callable, method_file: Callable
) -> None:
    there = tmp_path / "there.mp4"
    there.write_bytes(b"mine")
    words, expected = REFUSED[case]
    known = {"there": there, "method": method_file("whole"), "new": tmp_path / "new"}
    answer = cli("enhance", video, "-m", "bicubic", *(word.format(**known) for word in words))
    assert answer.code == 2
    assert expected in answer.err
    assert there.read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == {"there.mp4", "whole.py"}


def test_the_input_is_never_overwritten(video: Path, tmp_path: Path, cli: Callable) -> None:
    film_file = tmp_path / "a-compare.mp4"
    film_file.write_bytes(video.read_bytes())
    folder = tmp_path / "faces" / "face-01"  # as --faces-only leaves them
    folder.mkdir(parents=True)
    for number, frame in enumerate(film(2)):
        cv2.imwrite(str(folder / f"{number}.png"), frame[..., ::-1])
    (tmp_path / "link").symlink_to(folder)
    for source, out, more in (
        (film_file, tmp_path / "a.mp4", ["--compare"]),
        (folder, tmp_path / "faces", ["--faces-only"]),
        (tmp_path / "link", tmp_path / "faces", []),
        (film_file, film_file, []),
    ):
        answer = cli("enhance", source, "-o", out, "-m", "bicubic", "--overwrite", *more)
        assert answer.code == 2
        assert "the input" in answer.err
        assert "choose another -o" in answer.err
    assert film_file.read_bytes() == video.read_bytes()
    assert len(list(folder.iterdir())) == 2


def test_what_is_no_video_is_refused(tmp_path: Path, cli: Callable) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "none").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"")
    for name in ("text.mp4", "none", "absent.mp4", "images"):
        answer = cli("enhance", tmp_path / name, "-o", tmp_path / "o.mp4", "-m", "bicubic")
        assert answer.code == 1
        assert name in answer.err
    assert not (tmp_path / "o.mp4").exists()


def test_memory_does_not_grow_with_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref] = []

    def frames(info: object) -> Iterator[Frame]:
        for index in range(12):
            rgb = empty(1)[0]
            alive.append(weakref.ref(rgb))
            yield Frame(index=index, time=index / 25, rgb=rgb)
            del rgb
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 3

    monkeypatch.setattr("fvsr_bench.enhance.frames_of", frames)
    source = write(tmp_path / "a.mp4", empty(1))
    assert run(source, tmp_path / "out", scale=2).frames == 12
    assert len(alive) == 12
