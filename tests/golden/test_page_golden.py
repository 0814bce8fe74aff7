"""The page is a pure function of records and kept frames, self-contained, and says what is stored.

After a wanted change: `FVSR_UPDATE_GOLDEN=1 pytest tests/golden`, then look at the diff of
tests/golden/expected/page.html (style and script are left out of it).
"""

import base64
import csv
import difflib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fvsr_bench.claims.ledger import load_ledger
from fvsr_bench.cli.report import printed_ablations, printed_names
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.protocols import protocol
from fvsr_bench.report import charts, html, load_results, pictures, svg, write_report
from fvsr_bench.report.choose import ranking
from fvsr_bench.strips import (
    GT,
    LR,
    Choice,
    KeptClip,
    frames_folder,
    make_strip,
    read_shown,
    split_strip,
    write_clip,
    write_shown,
    write_strip,
)

EXPECTED = Path(__file__).parent / "expected" / "page.html"
FAPN = protocol("fapn")


def texture(seed: int, count: int, side: int) -> np.ndarray:
    """Tiles of noise that differ in every frame: nothing may be lost or mixed up unseen."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 256, (count, side // 5, side // 5, 3), dtype=np.uint8)
    return tiles.repeat(5, axis=1).repeat(5, axis=2)


def grain(seed: int, count: int, side: int) -> np.ndarray:
    """Noise of single pixels: large without loss, small as JPEG."""
    return np.random.default_rng(seed).integers(96, 112, (count, side, side, 3), dtype=np.uint8)


def keep(
    root: Path,
    clips: tuple[str, ...] = ("c000", "c003"),
    make: Callable[[int, int, int], np.ndarray] = texture,
    **changes: object,
) -> None:
    """Keep made-up frames of some clips of the synthetic results."""
    results = load_results(root)
    for number, clip in enumerate(clips):
        points = ((50.0, 60.0), (110.0, 60.0), (80.0, 90.0), (60.0, 120.0), (100.0, 120.0))
        fields = {"frames": tuple(range(12)), "total": 12, **changes}
        kept = KeptClip(
            clip=clip,
            dataset=results.facts.id,
            size=160,
            scale=4,
            fps=25.0,
            landmarks=(points,) * len(fields["frames"]),
            source="made up",
            root=frames_folder(root) / clip,
            **fields,
        )
        count = len(kept.frames)
        write_strip(kept.path(GT), make(number, count, 160))
        write_strip(kept.path(LR), make(number + 100, count, 40))
        for place, run in enumerate(results.complete):
            write_strip(kept.path(run.stem), make(1000 * place + number, count, 160))
        write_clip(kept)
    write_shown(root, Choice(words=",".join(clips)), clips)


class Outline(HTMLParser):
    """Collects what the tests ask about: elements, attributes, texts of some of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input", "col", "br"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self.scripts[-1] += data
        elif self.rows and {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def kept(synthetic, tmp_path_factory) -> Path:
    """Return a results folder with kept frames and its page."""
    root = synthetic(tmp_path_factory.mktemp("kept"))
    keep(root)
    html.write_page(root)
    return root


@pytest.fixture(scope="module")
def page(kept) -> str:
    return (kept / "index.html").read_text(encoding="utf-8")


def viewer_data(page: str) -> dict:
    return json.loads(Outline(page).scripts[0])


def test_page_does_not_drift(synthetic, tmp_path):
    text = html.write_page(synthetic(tmp_path)).read_text(encoding="utf-8")
    text = re.sub(r"<style>.*?</style>", "<style></style>", text, flags=re.DOTALL)
    text = re.sub(r"<script>.*?</script>", "<script></script>", text, flags=re.DOTALL)
    text = re.sub(r"sha256-[\w+/=]+", "sha256-", text)
    if os.environ.get("FVSR_UPDATE_GOLDEN"):
        EXPECTED.write_text(text, encoding="utf-8")
    old = EXPECTED.read_text(encoding="utf-8")
    diff = difflib.unified_diff(old.splitlines(), text.splitlines(), "expected", "now", lineterm="")
    assert old == text, "\n".join(diff)[:4000]


def test_same_input_gives_the_same_bytes_in_another_process_without_torch(page, kept):
    (kept / "index.html").unlink()
    code = (
        "import sys; from pathlib import Path; from fvsr_bench.report.html import write_page;"
        "write_page(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code, str(kept)], env=env, check=True)
    assert (kept / "index.html").read_text(encoding="utf-8") == page


def test_page_asks_the_network_for_nothing(page):
    outline = Outline(page)
    for tag, attributes in outline.elements:
        for name in ("src", "href", "data", "srcset", "action", "poster"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, name, value[:80])
    style = page[page.index("<style>") : page.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert not any(tag in ("iframe", "object", "embed") for tag, _ in outline.elements)


def test_policy_allows_only_the_page_s_own_script(page):
    outline = Outline(page)
    policy = next(
        a["content"]
        for tag, a in outline.elements
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    digest = hashlib.sha256(outline.scripts[-1].encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "on" not in {name[:2] for _, a in outline.elements for name in a}  # onclick=…


def test_table_says_what_the_csv_says(kept, page):
    write_report(kept, FAPN)
    with (kept / "table2.csv").open() as file:
        stored = {(row["title"], row["metric"]): row for row in csv.DictReader(file)}
    rows = {row[0]: row for row in Outline(page).rows if len(row) == 12}
    metrics = ["psnr", "ssim", "face"]
    for (title, metric), row in stored.items():
        if not row["ours"]:
            continue
        shown = rows[title][2 + 3 * metrics.index(metric)]
        digits = 2 if metric == "psnr" else 3
        assert shown.split()[0] == f"{float(row['ours']):.{digits}f}", (title, metric)
        assert ("(best)" in shown) == (row["best"] == "True")
    assert any("NaN or infinite" in name for name in rows)  # the broken method and its reason


def test_ablated_runs_become_table_3_beside_the_paper_s_numbers(synthetic, tmp_path):
    root = synthetic(tmp_path)
    _ablate(root, "vespcn", "fapn", variant="no-nic", weights="bi-no-nic")
    page = html.render_page(load_results(root), printed=PRINTED).html
    assert "Table 3. FAPN and its components" in page
    row = next(row for row in Outline(page).rows if row[0] == "no-nic")
    assert row[1] == "29.37"
    assert row[3].startswith("-1.1")  # 30.1 against 31.2 dB, paired
    assert next(row for row in Outline(page).rows if row[0] == "full")[1] == "30.26"


PRINTED = {"fapn": {"Table 3": {"no-nic": {"psnr": 29.37}, "full": {"psnr": 30.26}}}}


@pytest.mark.parametrize(("model", "part"), [("sofvsr", "no-nic"), ("fapn", "no-hidden-state")])
def test_the_paper_s_ablation_is_not_held_against_others(model, part, synthetic, tmp_path):
    root = synthetic(tmp_path)
    _ablate(root, "vespcn", model, variant=part, weights=f"bi-{part}")
    page = html.render_page(load_results(root), printed=PRINTED).html
    rows = {row[0]: row for row in Outline(page).rows if len(row) == 10}
    assert set(rows) >= {"full", part}
    assert rows["full"][1] == rows[part][1] == "–"
    assert "30.26" not in page
    assert "Table 3." not in page
    title = {"sofvsr": "SOF-VSR", "fapn": "FAPN"}[model]
    assert f"Components of {title}" in page


@pytest.mark.parametrize(
    ("weights", "mismatch"), [("long", ""), ("zz-bd15", "made for other frames"), ("bi-no-nic", "")]
)
def test_an_ablation_is_compared_with_the_network_of_its_own_weights(
    weights, mismatch, synthetic, tmp_path
):
    root = synthetic(tmp_path)
    _ablate(root, "vespcn", "fapn", variant="no-nic", weights="bi-no-nic")
    _ablate(root, "tecogan", "fapn", variant="full", weights=weights, mismatch=mismatch)
    _ablate(root, "frvsr", "fapn", variant="no-nic", weights="short-no-nic")
    page = html.render_page(load_results(root), printed=PRINTED).html
    row = next(row for row in Outline(page).rows if row[0] == "no-nic")
    assert row[3].startswith("-1.1")  # 30.1 against 31.2 dB, as without the others


def test_without_the_whole_network_there_is_no_table_of_parts(synthetic, tmp_path):
    root = synthetic(tmp_path)
    next((root / "manifests").glob("fapn-*.json")).unlink()
    _ablate(root, "vespcn", "fapn", variant="no-nic", weights="bi-no-nic")
    _ablate(root, "tecogan", "fapn", variant="full", weights="bi-no-nic")  # by `run fapn@bi-no-nic`
    rows = Outline(html.render_page(load_results(root)).html).rows
    assert not [row for row in rows if row[0] == "no-nic"]


def test_parts_that_were_trained_differently_are_said_to_be(synthetic, tmp_path):
    root = synthetic(tmp_path)
    _ablate(root, "vespcn", "fapn", variant="no-nic", weights="bi-no-nic")
    for path in (root / "manifests").glob("fapn-*.json"):
        manifest = json.loads(path.read_text())
        manifest["about"]["steps"] = 1200 if manifest["variant"] == "full" else 4000
        path.write_text(json.dumps(manifest))
    unequal = "not trained for the same number of steps: no comparison of parts"
    page = html.render_page(load_results(root)).html
    assert unequal in page
    assert "trained in the same way" not in page
    for path in (root / "manifests").glob("fapn-*.json"):
        path.write_text(path.read_text().replace("4000", "1200"))
    assert unequal not in html.render_page(load_results(root)).html


def test_the_command_knows_the_paper_s_tables_by_method():
    printed = printed_ablations(load_ledger())
    assert set(printed) == {"fapn"}
    assert set(printed["fapn"]) == {"Table 3", "Table 4"}
    assert printed["fapn"]["Table 3"]["full"]["psnr"] == 30.26
    names = printed_names(load_ledger(), "fapn", "Table 3")
    assert names == {"full": "FAPN", "no-nic": "BasicNet v2", "no-fsrc-no-nic": "BasicNet v1"}
    assert printed_names(load_ledger(), "fapn", "Table 4")["full"] == "MSE"
    assert printed_names(load_ledger(), "sofvsr", "Table 3") == {}


def test_methods_of_a_table_look_different_however_many_ablations_there_are(
    grid_folder, monkeypatch
):
    results = load_results(grid_folder)
    monkeypatch.setattr(svg, "LOOKS", 6)  # as many as there are methods, beside two ablations
    look = charts.looks(results)
    whole = [look[m.run_id] for m in results.complete if m.variant == "full"]
    assert sorted(whole) == list(range(6))


def _ablate(
    root: Path, old: str, model: str, *, variant: str, weights: str, mismatch: str = ""
) -> None:
    """Turn the runs of one synthetic method into an ablation of another."""
    path = next((root / "manifests").glob(f"{old}-*.json"))
    title = {"fapn": "FAPN", "sofvsr": "SOF-VSR"}[model]
    manifest = json.loads(path.read_text())
    manifest |= {"model": model, "variant": variant, "weights": weights}
    manifest["about"] |= {"title": title, "mismatch": mismatch}
    stem = f"{model}-{manifest['run_id']}"
    (root / "manifests" / f"{stem}.json").write_text(json.dumps(manifest))
    path.unlink()
    records = root / "records"
    next(records.glob(f"{old}-*.parquet")).rename(records / f"{stem}.parquet")


def test_hostile_names_stay_text(synthetic, tmp_path):
    root = synthetic(tmp_path)
    path = next((root / "manifests").glob("fapn-*.json"))
    manifest = json.loads(path.read_text())
    manifest["about"]["title"] = '</script><script>alert("1")</script><img src=x onerror=y>'
    path.write_text(json.dumps(manifest))
    keep(root)
    before = len(Outline(html.render_page(load_results(root)).html).elements)
    manifest["about"]["title"] = "Harmless"
    path.write_text(json.dumps(manifest))
    assert len(Outline(html.render_page(load_results(root)).html).elements) == before


def decode(source: str) -> np.ndarray:
    content = base64.b64decode(source.partition("base64,")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_pictures_that_fit_are_the_measured_pixels(page, kept):
    data = viewer_data(page)
    run = load_results(kept).complete[1]
    clip = next(clip for clip in data["clips"] if clip["id"] == "c003")
    strip = decode(clip["pictures"][run.stem])
    assert (split_strip(strip, 160, 12) == texture(1001, 12, 160)).all()
    assert "without loss" in page


def test_values_under_the_playhead_are_the_records(page, kept, synthetic_psnr):
    clip = next(clip for clip in viewer_data(page)["clips"] if clip["id"] == "c003")
    stem = next(m.stem for m in load_results(kept).complete if m.model == "vespcn")
    np.testing.assert_allclose(clip["values"]["psnr"][stem], synthetic_psnr("vespcn", 3), atol=1e-3)
    assert clip["values"]["face"][stem][-1] is None  # no face there: not a number in JSON either


def test_pictures_that_do_not_fit_lose_quality_and_the_page_says_so(
    synthetic, tmp_path, monkeypatch
):
    results = load_results(synthetic(tmp_path))
    keep(tmp_path, ("c001",), make=grain, frames=(8, 9))
    full = html.render_page(results).html
    assert "without loss" in full
    pictures_bytes = sum(len(p) for p in viewer_data(full)["clips"][0]["pictures"].values())
    monkeypatch.setattr(html, "BUDGET", pictures_bytes - 1)
    small = html.render_page(results).html
    assert len(small) < len(full)
    assert "JPEG of quality" in small
    monkeypatch.setattr(html, "BUDGET", 10_000)
    with pytest.raises(UsageError, match=r"need \d+ MB.*--assets"):
        html.render_page(results)


def test_assets_lie_beside_the_page_without_loss(synthetic, tmp_path):
    root = synthetic(tmp_path)
    keep(root, ("c001",))
    text = html.write_page(root, assets=True).read_text(encoding="utf-8")
    clip = viewer_data(text)["clips"][0]
    sources = [*clip["pictures"].values()]
    assert all((root / source).is_file() for source in sources)
    gt = np.asarray(Image.open(root / clip["pictures"]["gt"]).convert("RGB"))
    assert (gt == make_strip(texture(0, 12, 160))).all()
    assert "base64" not in text
    html.write_page(root)  # inside the page again: what lies beside it may not be shown any more
    assert not list((root / "index-files").iterdir())


def test_a_kept_clip_cannot_name_files_elsewhere(synthetic, tmp_path):
    root = synthetic(tmp_path)
    keep(root, ("c001",))
    path = root / "frames" / "c001" / "clip.json"
    path.write_text(path.read_text().replace('"c001"', '"../../c001"'))
    with pytest.raises(DataError, match="kept of another clip"):
        html.write_page(root, assets=True)


def test_sixteen_methods_look_different():
    assert len({svg.swatch(look) for look in range(16)}) == 16


def test_the_area_of_a_circle_is_the_number_of_parameters():
    points = [("A", 0, 1.0, 30.0, 3e6), ("B", 1, 2.0, 31.0, 0.75e6), ("C", 2, 3.0, 29.0, 0.0)]
    drawing = svg.scatter(points, name="n", x_label="x", y_label="y")
    radii = [float(r) for r in re.findall(r'class="bubble"[^>]* r="([\d.]+)"', drawing)]
    assert radii == [20.0, 10.0, 0.0]


def test_quoted_frames_are_said_to_be_quotations(synthetic, tmp_path):
    root = synthetic(tmp_path)
    keep(root, ("c001",), frames=tuple(range(4, 10)), licence="MIT")
    text = html.render_page(load_results(root)).html
    assert "at most 6 frames" in text
    assert viewer_data(text)["clips"][0]["frames"] == [4, 5, 6, 7, 8, 9]
    keep(root, ("c001",), licence="none found", private=True)
    assert "keep this page to yourself" in html.render_page(load_results(root)).html


@pytest.mark.parametrize(("name", "shape"), [("fig1", (3, 6)), ("fig6", (2, 8)), ("fig7", (7, 6))])
def test_pictures_show_the_kept_pixels_in_the_paper_s_layout(kept, name, shape):
    results = load_results(kept)
    source = pictures.Source(results=results, protocol=FAPN, clips=read_shown(kept))
    figure = pictures.draw(name, source)
    faces = [axes for axes in figure.axes if not axes.axison]
    assert len(faces) == shape[0] * shape[1]
    last = faces[-1].images[0].get_array()  # ground truth, in the last frame or clip
    clip = source.clips[-1] if name != "fig7" else source.clips[0]
    assert (last == clip.read(GT)[9]).all()
    insets = [axes for axes in figure.axes if axes.axison]
    assert len(insets) == (0 if name == "fig1" else 2 * len(faces))  # eyes and mouth
    pictures.figures.close(figure)


def test_pictures_are_the_same_bytes_again(kept):
    source = pictures.Source(results=load_results(kept), protocol=FAPN, clips=read_shown(kept)[:1])
    first = pictures.render_pictures("fig1", source)
    assert {name: content[:4] for name, content in first.items()} == {
        "fig1.png": b"\x89PNG",
        "fig1.pdf": b"%PDF",
    }
    assert pictures.render_pictures("fig1", source) == first


def test_a_picture_without_frames_or_runs_says_what_to_do(kept, synthetic, tmp_path):
    bare = load_results(synthetic(tmp_path))
    with pytest.raises(DataError, match="--clips worst,median,best"):
        pictures.draw("fig6", pictures.Source(results=bare, protocol=FAPN, clips=[]))
    source = pictures.Source(results=load_results(kept), protocol=FAPN, clips=read_shown(kept))
    with pytest.raises(DataError, match="no ablated runs of FAPN"):
        pictures.draw("fig8", source)


def test_another_seed_is_no_ablation_to_draw(synthetic, add_seed, tmp_path):
    root = synthetic(tmp_path)
    add_seed(root, "fapn", 0.1)
    keep(root)
    source = pictures.Source(results=load_results(root), protocol=FAPN, clips=read_shown(root))
    with pytest.raises(DataError, match="no ablated runs of FAPN"):
        pictures.draw("fig8", source)
    _ablate(root, "vespcn", "fapn", variant="no-nic", weights="bi-no-nic")
    keep(root)
    source = pictures.Source(results=load_results(root), protocol=FAPN, clips=read_shown(root))
    figure = pictures.draw("fig8", source)
    assert len([axes for axes in figure.axes if not axes.axison]) == 3  # no-nic, full, GT
    pictures.figures.close(figure)


def test_times_are_drawn_only_of_runs_on_one_machine(synthetic, tmp_path):
    root = synthetic(tmp_path)
    for number, path in enumerate(sorted((root / "manifests").glob("*-0*.json"))):
        manifest = json.loads(path.read_text())
        manifest["circumstance"] = {"ms_per_frame": 5.0 + number, "device": "cpu", "threads": 2}
        if manifest["model"] == "tecogan":
            manifest["circumstance"]["threads"] = 64
        path.write_text(json.dumps(manifest))
    text = html.render_page(load_results(root)).html
    cost = text[text.index('id="cost"') : text.index('id="data-set"')]
    assert "time per frame" in cost
    assert "left out: TecoGAN" in cost
    assert '<g class="series s4" data-series="TecoGAN">' not in cost
    assert 'data-series="FAPN"' in cost


def test_the_hardest_clip_is_the_one_with_the_lowest_psnr(kept):
    assert ranking(load_results(kept), FAPN) == ["c000", "c001", "c002", "c003"]
