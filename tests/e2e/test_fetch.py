"""Fetching pinned files from a server that drops connections, lies, or is not there."""

import csv
import hashlib
import importlib.resources
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from fvsr_bench.data import download, sources
from fvsr_bench.data.sources import Source, fetch, load_manifest, select
from fvsr_bench.errors import DataError, UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def content(name, size=200_000):
    """Return bytes that differ from file to file."""
    block = hashlib.sha256(name.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def source(name, data=None, path=None):
    """Describe a file of the pretended repository."""
    data = content(name) if data is None else data
    row = {
        "file": name,
        "bytes": str(len(data)),
        "sha256": hashlib.sha256(data).hexdigest(),
        "repository": "some-one/some.repo",
        "commit": COMMIT,
        "path": path or f"clips/{name}",
        "licence": "MIT",
        "subject": f"s-{name[0]}",
        "fps": "25.0",
        "sharpness": "100.0",
        "tier": "A",
        "notes": 'with a comma, and "quotes"',
    }
    return sources._parse(row, "test")


class Server:
    """A public repository with moods: `mood[path]` is a list of behaviours, one per request."""

    def __init__(self):
        self.files, self.mood, self.log = {}, {}, []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def serve(self, item: Source, data, *moods, lfs=False):
        """Offer the data of a source; the moods are used up one per request, the last one stays."""
        path = f"{'/media' * lfs}/{item.repository}/{item.commit}/{item.path}"
        self.files[path], self.mood[path] = data, list(moods or ["good"])

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = unquote(self.path)
                asked = self.headers.get("Range")
                server.log.append((path, asked))
                moods = server.mood.get(path, ["404"])
                mood = moods.pop(0) if len(moods) > 1 else moods[0]
                if mood.isdigit():
                    self.send_response(int(mood))
                    self.send_header("Retry-After", "0")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data, start = server.files[path], 0
                if asked and mood != "no-range":
                    start = int(asked.removeprefix("bytes=").rstrip("-"))
                    self.send_response(206 if start < len(data) else 416)
                    shift = 1 if mood == "shifted" else 0
                    where = f"bytes {start + shift}-{len(data) - 1}/{len(data)}"
                    self.send_header("Content-Range", where)
                else:
                    self.send_response(200)
                body = data[start:]
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if mood == "drop" else body)
                self.close_connection = True

            def log_message(self, *args):
                pass

        return Handler


@pytest.fixture
def server(monkeypatch):
    """Run a repository server for one test; waiting between attempts takes no time."""
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def asked(server, item):
    """Return the Range headers of the requests for a file, in order."""
    return [head for path, head in server.log if path.endswith(f"{COMMIT}/{item.path}")]


def test_all_files_arrive_with_their_tables(server, tmp_path):
    items = [source(name) for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.mp4")]
    for item in items:
        server.serve(item, content(item.file))
    seen = []
    result = fetch(
        items, tmp_path / "out", base_url=server.url, on_bytes=lambda *count: seen.append(count)
    )
    assert sorted(result.got) == [item.file for item in items]
    assert result.missing == {}
    for item in items:
        assert (tmp_path / "out" / item.file).read_bytes() == content(item.file)
    assert not (tmp_path / "out" / ".partial").exists()
    assert seen[-1] == (6 * 200_000, 6 * 200_000)
    rows = list(csv.DictReader((tmp_path / "out" / "subjects.csv").read_text().splitlines()))
    assert rows[0] == {"file": "a.mp4", "subject": "s-a"}
    rows = list(csv.DictReader((tmp_path / "out" / "manifest.csv").read_text().splitlines()))
    assert rows == [item.row for item in items]
    assert load_manifest(str(tmp_path / "out" / "manifest.csv")) == items

    before = len(server.log)
    again = fetch(items, tmp_path / "out", base_url=server.url)
    assert (len(again.there), again.got, len(server.log)) == (6, [], before)


def test_another_selection_into_the_same_folder_keeps_what_is_known_of_the_first(tmp_path):
    items = [source(name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    mirror, out = tmp_path / "mirror", tmp_path / "out"
    mirror.mkdir()
    for item in items:
        (mirror / item.file).write_bytes(content(item.file))
    fetch(items[:2], out, mirror=mirror)
    (out / "b.mp4").unlink()  # deleted by the user: its row goes, too
    fetch(items[2:], out, mirror=mirror)
    assert load_manifest(str(out / "manifest.csv")) == [items[0], items[2]]
    rows = list(csv.DictReader((out / "subjects.csv").read_text().splitlines()))
    assert rows == [{"file": "a.mp4", "subject": "s-a"}, {"file": "c.mp4", "subject": "s-c"}]
    fetch(items[:1], out, mirror=mirror)
    assert len(load_manifest(str(out / "manifest.csv"))) == 2
    (out / "manifest.csv").write_text("no manifest")
    with pytest.raises(DataError, match=r"manifest\.csv lacks the column"):
        fetch(items[2:], out, mirror=mirror)


def test_a_dropped_connection_is_continued_where_it_broke(server, tmp_path):
    item = source("a.mp4")
    server.serve(item, content("a.mp4"), "drop", "drop", "drop", "good")
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == content("a.mp4")
    ranges = asked(server, item)
    assert ranges[0] is None
    assert ranges[1] == "bytes=100000-"
    assert ranges[2] == "bytes=150000-"


def test_a_part_of_an_earlier_run_is_used(server, tmp_path):
    item = source("a.mp4")
    server.serve(item, content("a.mp4"))
    part = tmp_path / ".partial" / f"{item.sha256}.part"
    part.parent.mkdir()
    part.write_bytes(content("a.mp4")[:120_000])
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    assert asked(server, item) == ["bytes=120000-"]


@pytest.mark.parametrize(
    "part",
    [b"x" * 120_000, b"x" * 200_000, b"x" * 300_000],
    ids=["wrong part", "wrong whole", "too long"],
)
def test_a_spoiled_part_is_thrown_away_and_all_is_fetched_again(server, tmp_path, part):
    item = source("a.mp4")
    server.serve(item, content("a.mp4"))
    place = tmp_path / ".partial" / f"{item.sha256}.part"
    place.parent.mkdir()
    place.write_bytes(part)
    seen = []
    result = fetch([item], tmp_path, base_url=server.url, on_bytes=lambda *n: seen.append(n))
    assert result.got == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == content("a.mp4")
    assert asked(server, item)[-1] is None
    assert seen[-1] == (200_000, 200_000)


@pytest.mark.parametrize("mood", ["no-range", "shifted"])
def test_a_server_that_cannot_continue_is_asked_for_all(server, tmp_path, mood):
    item = source("a.mp4")
    server.serve(item, content("a.mp4"), "drop", mood, "good")
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == content("a.mp4")


@pytest.mark.parametrize("code", ["429", "500", "503", "403"])
def test_a_busy_server_is_asked_again(server, tmp_path, code):
    item = source("a.mp4")
    server.serve(item, content("a.mp4"), code, code, "good")
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]


@pytest.mark.parametrize(
    ("moods", "data", "reason", "requests"),
    [
        (["404"], b"", "HTTP 404", 1),
        (["503"], b"", "HTTP 503 Service Unavailable; gave up after 5 attempts", 5),
        (["good"], b"!" * 200_000, "wrong content: sha256", 1),
        (["good"], content("a.mp4")[:1000], "wrong content: 1000 bytes, expected 200000", 1),
        (["good"], content("a.mp4") + b"!", "wrong content: more bytes, expected 200000", 1),
    ],
    ids=["gone", "always busy", "other bytes", "too short", "too long"],
)
def test_what_cannot_be_had_is_named_and_the_others_arrive(
    server, tmp_path, moods, data, reason, requests
):
    bad, good = source("a.mp4"), source("b.mp4")
    server.serve(bad, data, *moods)
    server.serve(good, content("b.mp4"))
    result = fetch([bad, good], tmp_path, base_url=server.url)
    assert result.got == ["b.mp4"]
    assert list(result.missing) == ["a.mp4"]
    assert result.missing["a.mp4"].startswith(reason)
    assert "some-one/some.repo@0123456:clips/a.mp4" in result.missing["a.mp4"]
    assert len(asked(server, bad)) == requests
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "b.mp4",
        "manifest.csv",
        "subjects.csv",
    ]
    assert "a.mp4" not in (tmp_path / "subjects.csv").read_text()


def test_a_connection_that_always_breaks_keeps_its_part(server, tmp_path):
    item = source("a.mp4", content("a.mp4", 64))
    server.serve(item, content("a.mp4", 64), "drop")
    result = fetch([item], tmp_path, base_url=server.url)
    assert "gave up after 5 attempts" in result.missing["a.mp4"]
    part = tmp_path / ".partial" / f"{item.sha256}.part"
    assert part.read_bytes() == content("a.mp4", 64)[:63]  # half of the rest each time
    server.serve(item, content("a.mp4", 64))
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    assert asked(server, item)[-1] == "bytes=63-"


def test_git_lfs_content_is_found_behind_its_pointer(server, tmp_path):
    item = source("a.mp4")
    server.serve(item, POINTER)
    server.serve(item, content("a.mp4"), "drop", "good", lfs=True)
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == content("a.mp4")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 200000\n"


def test_a_part_of_git_lfs_content_is_continued_in_another_run(server, tmp_path):
    item = source("a.mp4")
    server.serve(item, POINTER)
    server.serve(item, content("a.mp4"), lfs=True)
    part = tmp_path / ".partial" / f"{item.sha256}.part"
    part.parent.mkdir()
    part.write_bytes(content("a.mp4")[:120_000])
    seen = []
    result = fetch([item], tmp_path, base_url=server.url, on_bytes=lambda *n: seen.append(n[0]))
    assert result.got == ["a.mp4"]
    assert asked(server, item) == ["bytes=120000-", "bytes=120000-"]  # the pointer, the content
    assert seen == sorted(seen), "nothing was thrown away"
    assert seen[-1] == 200_000


def test_a_part_that_neither_address_continues_is_thrown_away(server, tmp_path):
    item = source("a.mp4")
    server.serve(item, content("a.mp4"), "416", "good")
    part = tmp_path / ".partial" / f"{item.sha256}.part"
    part.parent.mkdir()
    part.write_bytes(b"x" * 120_000)
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == content("a.mp4")


def test_strange_paths_are_encoded_in_the_address(server, tmp_path):
    item = source("a.mp4", path="*phoneme data/ü & ß?#/sa1.mp4")
    server.serve(item, content("a.mp4"))
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    plain = download.Download(
        repository="o/n", commit=COMMIT, path="*a b/ü.mp4", size=1, sha256="", **PLACES
    )
    assert plain.address(lfs=False) == (
        f"https://raw.githubusercontent.com/o/n/{COMMIT}/%2Aa%20b/%C3%BC.mp4"
    )
    assert plain.address(lfs=True).startswith("https://media.githubusercontent.com/media/o/n/")


PLACES = {"target": None, "part": None}


def test_a_network_that_is_down_is_noticed_once_not_186_times(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PARALLEL", 1)
    tried = []
    real = download._receive
    monkeypatch.setattr(download, "_receive", lambda *a, **k: tried.append(1) or real(*a, **k))
    items = [source(f"{n:03d}.mp4") for n in range(186)]
    result = fetch(items, tmp_path, base_url="http://127.0.0.1:9")  # nobody listens on "discard"
    assert len(result.missing) == 186
    assert "cannot reach 127.0.0.1:9" in result.missing["185.mp4"]
    assert len(tried) == download.UNREACHABLE


def test_a_file_with_other_bytes_is_replaced(server, tmp_path):
    item = source("a.mp4")
    server.serve(item, content("a.mp4"))
    (tmp_path / "a.mp4").write_bytes(b"y" * 200_000)
    assert fetch([item], tmp_path, base_url=server.url).got == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == content("a.mp4")


def test_a_disk_that_refuses_ends_the_fetch(server, tmp_path, monkeypatch):
    items = [source(f"{n}.mp4") for n in range(9)]
    for item in items:
        server.serve(item, content(item.file))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "replace", full)
    with pytest.raises(DataError, match="the disk is full"):
        fetch(items, tmp_path / "out", base_url=server.url)


def test_a_mirror_gives_files_by_name_or_by_content(tmp_path):
    items = [source("a.mp4"), source("b.mp4"), source("c.mp4")]
    mirror = tmp_path / "mirror" / "deep"
    mirror.mkdir(parents=True)
    (mirror / "a.mp4").write_bytes(content("a.mp4"))
    (mirror / "renamed.bin").write_bytes(content("b.mp4"))
    (mirror / "c.mp4").write_bytes(b"z" * 200_000)  # the right name and size, the wrong bytes
    result = fetch(items, tmp_path / "out", mirror=tmp_path / "mirror")
    assert result.got == ["a.mp4", "b.mp4"]
    assert "no file in" in result.missing["c.mp4"]
    assert (tmp_path / "out" / "b.mp4").read_bytes() == content("b.mp4")
    assert not (tmp_path / "out" / "c.mp4").exists()


def test_the_pinned_manifest_is_sound_and_holds_no_video():
    rows = load_manifest("faceclips")
    assert len(rows) == 186
    assert len({row.sha256 for row in rows}) == 186
    assert sum(row.tier == "A" for row in rows) == 147
    assert len({row.subject for row in rows}) == 150
    files = importlib.resources.files("fvsr_bench.data").iterdir()
    assert not [f.name for f in files if f.name.endswith((".mp4", ".mpg", ".mov", ".avi"))]


def test_the_pinned_manifest_matches_the_shared_videos(shared_clips):
    rows = {row.file: row for row in load_manifest("faceclips")}
    name = "0071_lipnet_1.mpg"
    data = (shared_clips / "videos" / name).read_bytes()
    assert (rows[name].bytes, rows[name].sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with (shared_clips / "manifest.csv").open(newline="") as file:
        theirs = {row["file"].split("/")[-1]: row for row in csv.DictReader(file)}
    assert theirs.keys() == rows.keys()
    for key in ("sha256", "repository", "commit", "path", "licence", "subject", "tier", "notes"):
        assert all(theirs[file][key] == rows[file].row[key] for file in rows)


def test_filters_keep_what_they_say():
    rows = load_manifest("faceclips")
    kept = select(rows, tier="A", min_fps=20, min_sharpness=60)
    assert 0 < len(kept) < len(rows)
    assert all(r.tier == "A" and r.fps >= 20 and r.sharpness >= 60 for r in kept)
    assert select(rows) == rows
    with pytest.raises(UsageError, match="unknown tier 'C'"):
        select(rows, tier="C")
    with pytest.raises(UsageError, match="none of the 186 files"):
        select(rows, min_fps=1000)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("file", "../a.mp4"),
        ("file", "/etc/a.mp4"),
        ("file", ".hidden"),
        ("file", "a b.mp4"),
        ("file", ""),
        ("path", "../../x.mp4"),
        ("path", "/x.mp4"),
        ("path", "a\\b.mp4"),
        ("path", "a\nb.mp4"),
        ("repository", "one/two/three"),
        ("repository", "../two"),
        ("repository", "evil.example"),
        ("commit", "main"),
        ("sha256", "12ab"),
        ("bytes", "0"),
        ("bytes", "many"),
    ],
)
def test_an_unsafe_manifest_is_refused(tmp_path, column, value):
    row = source("a.mp4").row | {column: value}
    path = tmp_path / "mine.csv"
    path.write_text(sources._to_csv(list(row), [row]))
    with pytest.raises(DataError, match=r"mine\.csv, line"):
        load_manifest(str(path))


def test_manifests_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'faceclips'"):
        load_manifest("faceclip")
    with pytest.raises(DataError, match="cannot read manifest"):
        load_manifest(str(tmp_path / "none.csv"))
    path = tmp_path / "mine.csv"
    path.write_text("file,sha256\n")
    with pytest.raises(DataError, match="lacks the column"):
        load_manifest(str(path))
    row = source("a.mp4").row
    path.write_text(sources._to_csv(list(row), []))
    with pytest.raises(DataError, match="has no rows"):
        load_manifest(str(path))
    path.write_text(sources._to_csv(list(row), [row, row | {"file": "A.mp4"}]))
    with pytest.raises(DataError, match="twice"):
        load_manifest(str(path))
    with pytest.raises(UsageError, match="is not an http"):
        fetch([source("a.mp4")], tmp_path / "out", base_url="ftp://x")
    with pytest.raises(UsageError, match="is not a folder"):
        fetch([source("a.mp4")], tmp_path / "out", mirror=tmp_path / "none")


def test_the_command_lists_what_is_missing_and_fails(tmp_path):
    items = [source("a.mp4"), source("b.mp4")]
    manifest = tmp_path / "mine.csv"
    manifest.write_text(sources._to_csv(list(items[0].row), [item.row for item in items]))
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "a.mp4").write_bytes(content("a.mp4"))
    command = [sys.executable, "-m", "fvsr_bench", "data", "fetch", str(manifest)]
    command += ["--out", str(tmp_path / "out"), "--mirror", str(tmp_path / "mirror")]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 1
    assert "missing b.mp4: no file in" in first.stdout
    assert first.stderr.startswith("error: 1 of 2 files are missing")
    assert first.stderr.count("\n") == 1
    (tmp_path / "mirror" / "x.bin").write_bytes(content("b.mp4"))
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "1 fetched (0 MB), 1 there before, 0 missing, of 2 files" in second.stdout
    assert "data prepare" in second.stdout
