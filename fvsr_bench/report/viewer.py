"""What the page's viewer shows: pictures of the kept clips, and their numbers frame by frame."""

import base64
import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from fvsr_bench.errors import UsageError
from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import clip_values, frame_values
from fvsr_bench.report import svg, tables
from fvsr_bench.report.choose import describe_rank, ranking
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.strips import COLUMNS, GT, LR, KeptClip, make_strip

QUALITIES = (95, 90, 84, 76)  # JPEG, tried in this order when lossless pictures do not fit
CUBIC = "cubic"  # interpolated here, when no run of that kind was measured


@dataclass(frozen=True, kw_only=True)
class Still:
    """One row of the static strip: a frame of a clip as LR, every method and ground truth."""

    clip: str
    rank: str
    frame: int  # from 1
    titles: tuple[str, ...]
    source: str  # of the picture


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """The viewer's part of a page."""

    stills: tuple[Still, ...]
    data: Mapping[str, Any]  # for the script
    quality: str  # in words
    quoted: str  # what is said about frames that are quotations
    assets: Mapping[str, bytes] = field(default_factory=dict)


def build(
    results: Results,
    protocol: EvalProtocol,
    kept: Sequence[KeptClip],
    look: Mapping[str, int],
    *,
    budget: int,
    assets: str,
) -> Viewer | None:
    """Collect pictures and numbers of the kept clips; None when no frames are kept.

    Pictures are embedded without loss if all of them fit into `budget` bytes of page, else as JPEG
    of the best quality that fits; with `assets` (a folder's name) they are files, without loss.
    Raises UsageError when even the lowest quality does not fit.
    """
    kept = [clip for clip in kept if clip.path(GT).exists() and clip.runs()]
    if not kept:
        return None
    runs = [m for m in _best_first(results, protocol) if all(c.path(m.stem).exists() for c in kept)]
    titles = tables.titles(results.complete)
    names = [LR, *(m.stem for m in runs), GT]
    cubic = [m for m in runs if m.about.parameters == 0 and "bicubic" in m.about.title.lower()]
    if not cubic:
        names.insert(1, CUBIC)
    stills = {clip.clip: _still(clip, names) for clip in kept}
    strips, quality = _pictures(kept, names, budget, assets)
    place = _Placer(assets)
    methods = [_method(name, results, titles, look) for name in names]
    data = {
        "columns": COLUMNS,
        "left": CUBIC if not cubic else cubic[0].stem,
        "right": next((m.stem for m in runs if m not in cubic), GT),
        "methods": methods,
        "metrics": [{"name": m.name, "title": m.title, "digits": m.digits} for m in METRICS],
        "clips": _clips(results, protocol, kept, names, strips, place),
    }
    ranked = ranking(results, protocol)
    rows = tuple(
        Still(
            clip=clip.clip,
            rank=describe_rank(clip.clip, ranked),
            frame=clip.frames[still_index(clip)] + 1,
            titles=tuple(str(m["title"]) for m in methods),
            source=place(f"{clip.clip}-still", stills[clip.clip], "image/jpeg"),
        )
        for clip in kept
    )
    return Viewer(
        stills=rows,
        data=data,
        quality=quality,
        quoted=_quoted(kept),
        assets=place.files,
    )


def _best_first(results: Results, protocol: EvalProtocol) -> list[RunManifest]:
    mean = clip_values(results.records, "psnr", protocol).mean(axis=0)
    return sorted(results.complete, key=lambda m: (m.variant != "full", -mean[m.run_id], m.stem))


class _Placer:
    """Turns a picture into what `src` says: the data itself, or a file beside the page."""

    def __init__(self, folder: str) -> None:
        self.folder, self.files = folder, dict[str, bytes]()

    def __call__(self, name: str, content: bytes, mime: str) -> str:
        if not self.folder:
            return f"data:{mime};base64,{base64.b64encode(content).decode()}"
        digest = hashlib.sha256(content).hexdigest()[:8]
        file = f"{name}-{digest}.{mime.split('/')[1]}"
        self.files[file] = content
        return f"{self.folder}/{file}"


def still_index(clip: KeptClip) -> int:
    """Return which kept frame stands for the clip: the tenth, as in the paper's Fig. 6."""
    return clip.frames.index(9) if 9 in clip.frames else len(clip.frames) - 1


def pictures_of(clip: KeptClip, name: str) -> np.ndarray:
    """Return the kept frames of a run, "gt", "lr", or LR enlarged by bicubic interpolation."""
    if name != CUBIC:
        return clip.read(name)
    return enlarge(clip.read(LR), clip.size, Image.Resampling.BICUBIC)


def enlarge(frames: np.ndarray, size: int, how: Image.Resampling) -> np.ndarray:
    """Enlarge frames [T, h, w, 3] to `size` px."""
    return np.stack([np.asarray(Image.fromarray(f).resize((size, size), how)) for f in frames])


def _still(clip: KeptClip, names: Sequence[str]) -> bytes:
    at = still_index(clip)
    cells = []
    for name in names:
        frames = pictures_of(clip, name)[at : at + 1]
        if name == LR:
            frames = enlarge(frames, clip.size, Image.Resampling.NEAREST)
        cells.append(frames[0])
    return _encode(np.concatenate(cells, axis=1), 90)


def _pictures(
    kept: Sequence[KeptClip], names: Sequence[str], budget: int, assets: str
) -> tuple[dict[tuple[str, str], tuple[bytes, str]], str]:
    """Return (clip, name) -> (picture, mime type), and the quality in words."""
    keys = [(clip, name) for clip in kept for name in names]
    lossless = {(c.clip, n): (_lossless(c, n), "image/webp") for c, n in keys}
    if assets or _embedded(lossless.values()) <= budget:
        return lossless, (
            "Pictures of the viewer are without loss, the frames as they were measured; the strips "
            "below it are JPEG."
        )
    strips = {(c.clip, n): make_strip(pictures_of(c, n)) for c, n in keys}
    least = 0
    for quality in QUALITIES:
        found = {key: (_encode(strip, quality), "image/jpeg") for key, strip in strips.items()}
        least = _embedded(found.values())
        if least <= budget:
            return found, (
                f"Pictures are JPEG of quality {quality} without chroma subsampling, to keep the "
                "page small; numbers were measured on frames without loss."
            )
    raise UsageError(
        f"the pictures of {len(kept)} clips need {least / 1e6:.0f} MB, a page may have "
        f"{budget / 1e6:.0f} MB: choose fewer with `fvsr-bench report --clips`, or put them beside "
        "the page with `fvsr-bench report --assets`"
    )


def _lossless(clip: KeptClip, name: str) -> bytes:
    if name != CUBIC:
        return clip.path(name).read_bytes()
    return _webp(make_strip(pictures_of(clip, name)))


def _webp(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="WEBP", lossless=True, quality=60, method=3)
    return buffer.getvalue()


def _encode(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _embedded(found: Any) -> int:
    return sum(len(content) * 4 // 3 + 40 for content, _ in found)


def _method(
    name: str, results: Results, titles: Mapping[str, str], look: Mapping[str, int]
) -> dict[str, Any]:
    fixed = {LR: "LR (input)", GT: "Ground truth", CUBIC: "Bicubic (interpolated)"}
    if name in fixed:
        return {"id": name, "title": fixed[name], "look": None}
    run = next(m for m in results.complete if m.stem == name)
    return {"id": name, "title": titles[run.run_id], "look": look[run.run_id] % svg.LOOKS}


def _clips(
    results: Results,
    protocol: EvalProtocol,
    kept: Sequence[KeptClip],
    names: Sequence[str],
    strips: Mapping[tuple[str, str], tuple[bytes, str]],
    place: Callable[[str, bytes, str], str],
) -> list[dict[str, Any]]:
    ranked = ranking(results, protocol)
    by_stem = {m.stem: m.run_id for m in results.complete}
    measured = {}
    for metric in METRICS:
        wide = frame_values(results.records, metric.name, protocol)
        if len(wide):
            measured[metric.name] = wide.round(metric.digits + 2)
    out = []
    for clip in kept:
        values = {
            metric: {n: _list(wide.loc[(by_stem[n], clip.clip)]) for n in names if n in by_stem}
            for metric, wide in measured.items()
        }
        pictures = {n: place(f"{clip.clip}-{n}", *strips[clip.clip, n]) for n in names}
        places = range(len(clip.frames))
        out.append(
            {
                "id": clip.clip,
                "rank": describe_rank(clip.clip, ranked),
                "frames": list(clip.frames),
                "total": clip.total,
                "size": clip.size,
                "scale": clip.scale,
                "fps": clip.fps,
                "source": clip.source,
                "eyes": [clip.box("eyes", t) for t in places],
                "mouth": [clip.box("mouth", t) for t in places],
                "start": still_index(clip),
                "pictures": pictures,
                "values": values,
            }
        )
    return out


def _list(values: Any) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in values]


def _quoted(kept: Sequence[KeptClip]) -> str:
    licences = sorted({clip.licence for clip in kept if clip.licence})
    if not licences:
        return ""
    if any(clip.private for clip in kept):
        return (
            "PRIVATE: these are other people's videos whose licence does not allow passing frames "
            "on; keep this page to yourself."
        )
    most = max(len(clip.frames) for clip in kept if clip.licence)
    return (
        f"These videos are other people's: at most {most} frames of a clip are shown, as a "
        f"quotation, from repositories under {', '.join(licences)}."
    )
