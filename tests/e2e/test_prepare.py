"""Law: of a user's videos, what is usable becomes a dataset and the rest has a reason."""

import json
import struct
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from skimage import data

from fvsr_bench.cli import run
from fvsr_bench.data.check import check_dataset
from fvsr_bench.data.inputs import PrepareOptions, list_sources
from fvsr_bench.data.prepare import prepare
from fvsr_bench.data.recut import read_index, recut
from fvsr_bench.data.sources import load_manifest
from fvsr_bench.data.store import open_dataset
from fvsr_bench.data.video import count_frames, read_video
from fvsr_bench.errors import DataError, UsageError

OPTIONS = PrepareOptions(counts=(4, 2, 3))


def photograph(name="astronaut"):
    if name == "astronaut":
        return data.astronaut()[:240, 100:380]
    path = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
    group = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(group[20:260, 820:1100])  # one of the six


def film(count, name="astronaut", size=(208, 200)):
    """Frames of a photograph seen by an unsteady camera; `size` = (width, height)."""
    picture, frames = photograph(name), []
    for t in range(count):
        x, y = round(30 + 12 * np.sin(t / 5)), round(12 + 6 * np.cos(t / 7))
        frames.append(np.ascontiguousarray(picture[y : y + size[1], x : x + size[0]]))
    return frames


def write(path, frames, codec="mpeg4", pixels="yuv420p", fps=25):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def turn(path):
    """Write into an MP4 header that it is to be shown turned by 90 degrees clockwise."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert content[at : at + 36] == upright
    width = struct.unpack(">I", content[at + 36 : at + 40])[0]
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, width, 0, 1 << 30)
    content[at : at + 36] = turned
    path.write_bytes(bytes(content))


def hide_face(frame):
    covered = frame.copy()
    covered[20:190, 40:180] = frame[5:10].mean(axis=(0, 1))
    return covered


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    write(root / "001" / "vid.avi", film(70))  # as 300-VW is laid out
    write(root / "Zoë" / "gespräch ü.mkv", film(33, "group", (207, 201)), "ffv1", "bgr0")
    write(root / "grey.mkv", film(32), "ffv1", "gray", fps=12)
    write(root / "cut.mkv", [*film(20), *film(34, "group")])
    blink = film(70)
    write(root / "lost.mkv", [*blink[:33], *map(hide_face, blink[33:37]), *blink[37:]])
    write(root / "turned.mp4", [np.rot90(f).copy() for f in film(32)])
    turn(root / "turned.mp4")
    write(root / "short.mp4", film(20))
    write(root / "nobody.mp4", [np.full((96, 96, 3), 90 + t, np.uint8) for t in range(34)])
    write(root / "half.avi", film(72))
    content = (root / "half.avi").read_bytes()
    (root / "half.avi").write_bytes(content[: len(content) * 3 // 5])
    (root / "broken.mp4").write_bytes(b"this is no video" * 50)
    (root / "empty.mp4").write_bytes(b"")
    (root / "notes.txt").write_text("no video")
    return root


@pytest.fixture(scope="module")
def made(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "faces"
    return prepare(videos, out, OPTIONS, jobs=2)


def clips_of(dataset, source):
    return dataset.index[dataset.index["source"] == source]


def reasons_of(made, source):
    table = pd.read_csv(made.dataset.root / "skipped.csv", keep_default_na=False)
    return table[table["source"] == source]


def test_a_sound_dataset_comes_out(made):
    assert check_dataset(made.dataset) == []
    assert (made.dataset.index["frames"] == 32).all()
    tools = made.dataset.meta.tools
    assert {"facenet-pytorch", "torch", "av"} <= set(tools)


@pytest.mark.parametrize(
    ("source", "first"),
    [
        ("001/vid.avi", [0, 32]),
        ("Zoë/gespräch ü.mkv", [0]),
        ("grey.mkv", [0]),
        ("cut.mkv", [20]),
        ("turned.mp4", [0]),
        ("half.avi", [0]),
    ],
)
def test_clips_start_where_the_face_can_be_followed(made, source, first):
    rows = reasons_of(made, source)
    surplus = rows[rows["reason"].str.startswith("not needed")]["first_frame"].tolist()
    assert sorted([*clips_of(made.dataset, source)["first_frame"], *surplus]) == first


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("cut.mkv", "scene cut"),
        ("lost.mkv", "face is lost|no face|scene cut"),
        ("short.mp4", "fewer than 32 frames before: the end"),
        ("nobody.mp4", "no face of at least 64 px"),
        ("broken.mp4", "cannot be opened"),
        ("empty.mp4", "cannot be opened"),
        ("001/vid.avi", "the end of the video"),
    ],
)
def test_what_is_left_out_has_a_reason(made, source, reason):
    assert reasons_of(made, source)["reason"].str.contains(reason).any()


def test_a_lost_face_is_never_inside_a_clip(made):
    rows = clips_of(made.dataset, "lost.mkv")
    assert len(rows)
    for first, last in zip(rows["first_frame"], rows["last_frame"], strict=True):
        assert last < 33 or first > 36


def test_every_frame_is_accounted_for(made, videos):
    for source in ("001/vid.avi", "cut.mkv", "lost.mkv", "nobody.mp4", "short.mp4"):
        rows = [clips_of(made.dataset, source), reasons_of(made, source)]
        spans = [
            range(first, last + 1)
            for table in rows
            for first, last in zip(table["first_frame"], table["last_frame"], strict=True)
        ]
        frames = sorted(t for span in spans for t in span)
        assert frames == list(range(sum(1 for _ in read_video(videos / source))))


def test_the_crop_shows_the_face_upright(made, videos):
    row = clips_of(made.dataset, "turned.mp4").iloc[0]
    clip = made.dataset.load(row["clip"])
    left, right, _, mouth, _ = clip.landmarks[0]
    assert left[0] < right[0]
    assert mouth[1] > left[1]
    x0, y0, x1, y1 = json.loads(row["boxes"])[0]
    upright = film(1)[0][round(y0) : round(y1), round(x0) : round(x1)]
    expected = cv2.resize(upright, (160, 160), interpolation=cv2.INTER_CUBIC)
    assert np.abs(clip.hr[0].astype(int) - expected).mean() < 8


def test_grey_is_grey_and_rates_are_measured(made):
    row = clips_of(made.dataset, "grey.mkv").iloc[0]
    clip = made.dataset.load(row["clip"])
    assert np.ptp(clip.hr.astype(int), axis=3).max() == 0
    assert clip.fps == pytest.approx(12, abs=0.1)
    assert clips_of(made.dataset, "001/vid.avi")["fps"].iloc[0] == pytest.approx(25, abs=0.1)


def test_subjects_are_the_videos(made):
    index = made.dataset.index.drop_duplicates("source").set_index("source")
    assert index.loc["001/vid.avi", "subject"] == "001"
    assert index.loc["001/vid.avi", "clip"].startswith("001_0000")
    assert index.loc["Zoë/gespräch ü.mkv", "subject"] == "Zoë/gespräch ü"


def content(root):
    paths = [p for p in root.rglob("*") if p.is_file() and ".cache" not in p.parts]
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in paths}


def test_a_second_run_changes_nothing(made, videos):
    times = {p: p.stat().st_mtime_ns for p in made.dataset.root.rglob("*")}
    again = prepare(videos, made.dataset.root, OPTIONS)
    assert again.unchanged
    assert again.dataset.id == made.dataset.id
    assert times == {p: p.stat().st_mtime_ns for p in made.dataset.root.rglob("*")}


def test_other_options_are_refused(made, videos):
    other = PrepareOptions(counts=(4, 2, 3), margin=1.3)
    with pytest.raises(DataError, match="differs in: margin"):
        prepare(videos, made.dataset.root, other)


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path, videos):
    few = tmp_path / "few"
    few.mkdir()
    for name in ("grey.mkv", "turned.mp4", "short.mp4"):
        (few / name).write_bytes((videos / name).read_bytes())
    straight = prepare(few, tmp_path / "straight" / "faces", OPTIONS, jobs=2).dataset.root
    seen = []

    def stop(frames):
        seen.append(frames)
        if len(seen) == 50:
            raise KeyboardInterrupt

    out = tmp_path / "broken" / "faces"
    with pytest.raises(KeyboardInterrupt):
        prepare(few, out, OPTIONS, jobs=1, progress=stop)
    with pytest.raises(DataError, match="half-prepared"):
        open_dataset(out)
    with pytest.raises(DataError, match="half-made dataset of another source or other options"):
        prepare(few, out, PrepareOptions(seed=1))
    prepare(few, out, OPTIONS, jobs=1)
    assert content(out) == content(straight)


def test_the_command_ends_with_a_summary(videos, tmp_path, capsys):
    table = tmp_path / "who.csv"
    table.write_text("file,subject\ngrey.mkv,anna\nturned.mp4,ben\nshort.mp4,ben\n")
    out = tmp_path / "out"
    line = ["data", "prepare", str(videos), "--out", str(out), "--subjects", str(table)]
    line += ["--only-listed", "--max-per-subject", "1", "--crop", "steady", "--margin", "1.3"]
    assert run(line) == 0
    shown = capsys.readouterr().out
    assert "the proportions are kept" in shown
    assert "the end of the video" in shown
    dataset = open_dataset(out)
    assert set(dataset.index["subject"]) == {"anna", "ben"}
    boxes = json.loads(dataset.index["boxes"][0])
    assert all(box == boxes[0] for box in boxes)
    assert run(line) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(["data", "check", str(out)]) == 0
    picture = tmp_path / "sheet.png"
    assert run(["data", "show", str(out), "--out", str(picture), "--landmarks"]) == 0
    assert "340" in capsys.readouterr().out
    assert cv2.imread(str(picture)).shape[1] == 2 * 7 * 160 + 8


def test_nothing_usable_exits_1_and_leaves_no_dataset(videos, tmp_path, capsys):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "broken.mp4").write_bytes((videos / "broken.mp4").read_bytes())
    assert run(["data", "prepare", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert "no clip could be made from 1 video(s): cannot be opened" in capsys.readouterr().err
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--crop", "face"], 2, "--crop is 'face'; expected per-frame or steady"),
        (["--split", "random"], 2, "--split is 'random'; expected subject or sequence"),
        (["--degradation", "bc"], 2, "unknown degradation 'bc'"),
        (["--margin", "9"], 2, "--margin is 9.0; expected 0.5 to 4"),
        (["--counts", "0", "0", "0"], 2, "--counts expects three numbers"),
        (["--min-face", "3"], 2, "--min-face is 3.0"),
        (["--only-listed"], 2, "--only-listed needs --subjects"),
        (["--subjects", "none.csv"], 1, "cannot read the subjects from none.csv"),
    ],
)
def test_wrong_options_are_explained(videos, tmp_path, capsys, change, code, message):
    line = ["data", "prepare", str(videos), "--out", str(tmp_path / "out"), *change]
    assert run(line) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_places_are_explained(videos, tmp_path, capsys):
    assert run(["data", "prepare", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == 1
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["data", "prepare", str(tmp_path / "empty"), "--out", str(tmp_path / "o")]) == 1
    assert "has no video file" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run(["data", "prepare", str(videos), "--out", str(tmp_path / "file" / "o")]) == 1
    assert "cannot write to" in capsys.readouterr().err
    table = tmp_path / "who.csv"
    table.write_text("name,id\na,b\n")
    with pytest.raises(DataError, match="expected file and subject"):
        list_sources(videos, table, only_listed=False)
    table.write_text("file,subject\nother.mp4,b\n")
    with pytest.raises(DataError, match="names none of the videos"):
        list_sources(videos, table, only_listed=True)
    with pytest.raises(UsageError, match="needs --subjects"):
        list_sources(videos, None, only_listed=True)


def test_videos_of_one_name_get_different_clips(tmp_path):
    for name in ("a.mp4", "a.avi", "b/vid.mp4", "c d/vid.avi", "A.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    slugs = [source.slug for source in list_sources(tmp_path, None, only_listed=False)]
    assert len({slug.casefold() for slug in slugs}) == 5
    assert "b" in slugs
    assert "c-d" in slugs


def test_a_subject_is_given_to_the_videos_that_the_table_names_and_to_no_other(tmp_path):
    for name in ("001/vid.avi", "002/vid.avi", "c/solo.avi"):  # 300-VW: every file is vid.avi
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    table = tmp_path / "who.csv"
    table.write_text("file,subject\n001/vid.avi,anna\nsolo.avi,ben\n")
    sources = list_sources(tmp_path, table, only_listed=False)
    assert {source.name: source.subject for source in sources} == {
        "001/vid.avi": "anna",
        "002/vid.avi": "002",
        "c/solo.avi": "ben",
    }
    listed = list_sources(tmp_path, table, only_listed=True)
    assert [source.name for source in listed] == ["001/vid.avi", "c/solo.avi"]
    table.write_text("file,subject\nvideos/001/vid.avi,anna\n")  # a path from elsewhere
    with pytest.raises(DataError, match=r"names none of the videos.*paths in that folder"):
        list_sources(tmp_path, table, only_listed=False)


def test_breaks_are_marked(videos, tmp_path):
    marked = [(frame.index, frame.breaks) for frame in read_video(videos / "cut.mkv")]
    assert [mark for mark in marked if mark[1]] == [(20, "scene cut")]
    assert not any(frame.breaks for frame in read_video(videos / "001" / "vid.avi"))
    assert count_frames(videos / "001" / "vid.avi") == 70
    assert count_frames(videos / "broken.mp4") == 0
    paused = tmp_path / "paused.mkv"
    with av.open(str(paused), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for t in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")
            frame.pts = t + (50 if t >= 6 else 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    breaks = [frame.breaks for frame in read_video(paused)]
    assert breaks[6] == "a pause in the recording"
    assert breaks.count(None) == 11


def test_an_index_gives_the_same_pixels_without_a_detector(made, videos, tmp_path, monkeypatch):
    """Two of three threads may run at once; killed at any clip, it goes on to the same bytes."""
    monkeypatch.setattr("fvsr_bench.faces.detector.FaceDetector.__init__", None)
    index, out = str(made.dataset.root / "index.csv"), tmp_path / "again"

    def stop(clip, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recut(videos, index, out, progress=stop)
    with pytest.raises(DataError, match="half-made dataset of another source or other options"):
        recut(videos, index, out, degradation="bd15")
    seen = []
    again = recut(videos, index, out, progress=lambda clip, done, total: seen.append(clip))
    assert again.id == made.dataset.id
    assert 0 < len(seen) < len(again.index)  # what was there was not cut again
    for name in ("index.csv", "checksums.csv"):
        assert (out / name).read_bytes() == (made.dataset.root / name).read_bytes()
    assert check_dataset(again) == []
    assert recut(videos, index, out).id == again.id  # nothing to do
    with pytest.raises(DataError, match="holds another dataset"):
        recut(videos, index, out, degradation="bd15")


def test_what_an_index_lacks_is_said_in_one_line(made, videos, tmp_path, capsys):
    table = pd.read_csv(made.dataset.root / "index.csv", dtype=str, keep_default_na=False)

    def said(changed: pd.DataFrame, source=videos) -> str:
        changed.to_csv(tmp_path / "index.csv", index=False)
        out = tmp_path / "out"
        line = ["data", "recut", str(source), "--index", str(tmp_path / "index.csv")]
        assert run([*line, "--out", str(out)]) == 1
        assert not (out / "dataset.json").exists()
        text = capsys.readouterr().err
        assert text.startswith("error: ")
        assert len(text.splitlines()) == 1
        return text

    assert "lacks 1 of the" in said(table.assign(source=table["source"].replace("grey.mkv", "x")))
    assert "is not the index.csv of a dataset" in said(table.drop(columns="boxes"))
    assert "is not the index.csv of a dataset" in said(table.assign(frames="31"))
    assert "is not the index.csv of a dataset" in said(table.assign(clip="../" + table["clip"]))
    assert "names no clips" in said(table[:0])
    late = table[table["source"] == "grey.mkv"].assign(first_frame="5")
    assert "grey.mkv ends before frame 36" in said(late)
    line = ["data", "recut", str(videos), "--out", str(tmp_path / "new"), "--index"]
    assert run([*line, "nowhere.csv"]) == 1
    assert "expected faceclips or the path of an index.csv" in capsys.readouterr().err
    assert run([*line, "faceclips", "--degradation", "bc"]) == 2


def test_the_index_of_faceclips_is_that_of_the_manifest():
    infos, _ = read_index("faceclips")
    sources = {source.file: source for source in load_manifest("faceclips")}
    assert {info.source for info in infos} <= sources.keys()
    assert all(info.subject == sources[info.source].subject for info in infos)
    splits = pd.Series([info.split for info in infos]).value_counts()
    assert dict(splits) == {"train": 340, "test": 45, "val": 15}
