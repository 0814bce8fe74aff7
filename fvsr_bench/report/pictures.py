"""The paper's pictures (Figures 1, 6, 7 and 8) from kept frames, as PNG and PDF."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fvsr_bench.errors import DataError
from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import clip_values, frame_values
from fvsr_bench.report import figures, tables
from fvsr_bench.report.ablation import is_cell
from fvsr_bench.report.results import Results
from fvsr_bench.report.viewer import still_index
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.strips import GT, LR, KeptClip

FIGURES = ("fig1", "fig6", "fig7", "fig8")
SIX = 6  # consecutive frames in Figures 1 and 7
PARTS = {"eyes": "#e69f00", "mouth": "#56b4e9"}  # what is enlarged, and the colour of its frame
CELL, GAP, LABEL = 1.1, 0.05, 0.95  # inches


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One face of a picture, with the enlarged parts under it and a line of text."""

    image: np.ndarray  # uint8 [h, w, 3]
    size: int  # px: what the boxes refer to
    boxes: dict[str, tuple[int, int, int, int]]
    text: str = ""
    framed: bool = False  # draw the boxes into the face: on the ground truth only


@dataclass(frozen=True, kw_only=True)
class Source:
    """What pictures are drawn from."""

    results: Results
    protocol: EvalProtocol
    clips: Sequence[KeptClip]  # hardest first


def draw(name: str, source: Source) -> Figure:
    """Draw one of FIGURES. Raises DataError when frames or runs for it are missing."""
    if not source.clips:
        raise DataError(
            f"{source.results.root} keeps no frames to draw {name} from; make them with: "
            f"fvsr-bench report --results {source.results.root} --clips worst,median,best"
        )
    return {"fig1": _figure1, "fig6": _figure6, "fig7": _figure7, "fig8": _figure8}[name](source)


def ours(results: Results, protocol: EvalProtocol) -> RunManifest:
    """Find the run of the method that the paper calls "Ours"; without one, the best by PSNR."""
    runs = [m for m in results.complete if _is_full(m)]
    if not runs:
        raise DataError(f"{results.root}: no method has records yet; nothing to draw")
    mean = clip_values(results.records, "psnr", protocol).mean(axis=0)
    best = sorted(runs, key=lambda m: -mean[m.run_id])
    named = [m for m in best if any("Ours" in p["where"] for p in m.about.published.values())]
    return (named or best)[0]


def _is_full(run: RunManifest) -> bool:
    return tables.is_whole(run) and not is_cell(run)


def _figure1(source: Source) -> Figure:
    clip, run = source.clips[len(source.clips) // 2], ours(source.results, source.protocol)
    names = [LR, run.stem, GT]
    rows = [[_cell(source, clip, name, t, ()) for t in six(clip)] for name in names]
    titles = ["LR", run.about.title, "GT"]
    return _grid(source, rows, titles, _numbers(clip), f"clip {clip.clip}")


def _figure6(source: Source) -> Figure:
    runs = _compared(source)
    names = [LR, *(m.stem for m in runs), GT]
    shown = source.clips[:3]
    rows = [
        [_cell(source, clip, name, still_index(clip), tuple(PARTS)) for name in names]
        for clip in shown
    ]
    frames = sorted({clip.frames[still_index(clip)] + 1 for clip in shown})
    which = f"frame {', '.join(map(str, frames))}"
    titles = ["LR", *_titles(source, runs), "GT"]
    return _grid(source, rows, [clip.clip for clip in shown], titles, which)


def _figure7(source: Source) -> Figure:
    clip, runs = source.clips[0], _compared(source)
    names = [*(m.stem for m in runs), GT]
    rows = [[_cell(source, clip, name, t, ("eyes", "mouth")) for t in six(clip)] for name in names]
    titles = [*_titles(source, runs), "GT"]
    return _grid(source, rows, titles, _numbers(clip), f"clip {clip.clip}")


def _figure8(source: Source) -> Figure:
    full = ours(source.results, source.protocol)
    mean = clip_values(source.results.records, "psnr", source.protocol).mean(axis=0)
    others = [m for m in source.results.complete if m.model == full.model and is_cell(m)]
    if not others:
        raise DataError(
            f"{source.results.root} has no ablated runs of {full.about.title}; make them with: "
            "fvsr-bench ablate nic fsrc"
        )
    runs = [*sorted(others, key=lambda m: mean[m.run_id]), full]
    clip = source.clips[len(source.clips) // 2]
    at = still_index(clip)
    names = [*(m.stem for m in runs), GT]
    row = [_cell(source, clip, name, at, tuple(PARTS)) for name in names]
    titles = [*_titles(source, runs), "GT"]
    return _grid(source, [row], [clip.clip], titles, f"frame {clip.frames[at] + 1}")


def six(clip: KeptClip) -> range:
    """Return the places of six consecutive kept frames, the tenth of the clip being the last."""
    end = min(len(clip.frames), max(SIX, still_index(clip) + 1))
    return range(max(0, end - SIX), end)


def _compared(source: Source) -> list[RunManifest]:
    """Return the methods in the order of the paper's pictures: ours last, before it by PSNR."""
    results = source.results
    mean = clip_values(results.records, "psnr", source.protocol).mean(axis=0)
    last = ours(results, source.protocol)
    runs = [m for m in results.complete if _is_full(m) and m.model != last.model]
    runs = [m for m in runs if all(clip.path(m.stem).exists() for clip in source.clips)]
    return [*sorted(runs, key=lambda m: mean[m.run_id]), last]


def _titles(source: Source, runs: Sequence[RunManifest]) -> list[str]:
    names = tables.titles(runs)
    return [names[m.run_id] for m in runs]


def _numbers(clip: KeptClip) -> list[str]:
    return [f"frame {clip.frames[t] + 1}" for t in six(clip)]


def _cell(source: Source, clip: KeptClip, name: str, at: int, parts: Sequence[str]) -> Cell:
    image = clip.read(name)[at]
    boxes = {part: clip.box(part, at) for part in parts}
    run = next((m for m in source.results.complete if m.stem == name), None)
    text = ""
    if run is not None:
        values = frame_values(source.results.records, "psnr", source.protocol)
        row = values.index.get_loc((run.run_id, clip.clip))
        text = f"{values[clip.frames[at]].to_numpy(float)[row]:.2f} dB"
    return Cell(image=image, size=clip.size, boxes=boxes, text=text, framed=name == GT)


def _grid(
    source: Source,
    rows: Sequence[Sequence[Cell]],
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    note: str,
) -> Figure:
    """Lay cells out in rows and columns with titles, and say under them what the data are."""
    under = (CELL - GAP) / 2 + GAP if rows[0][0].boxes else 0.0
    text = 0.2 if any(cell.text for row in rows for cell in row) else 0.0
    pitch = CELL + under + text + GAP
    width = LABEL + len(rows[0]) * (CELL + GAP)
    height = 0.3 + len(rows) * pitch + 0.3
    figure = Figure(figsize=(width, height))
    for r, row in enumerate(rows):
        top = height - 0.3 - r * pitch
        middle = (top - CELL / 2) / height
        figure.text((LABEL - 0.1) / width, middle, row_titles[r], ha="right", va="center", size=9)
        for c, cell in enumerate(row):
            left = LABEL + c * (CELL + GAP)
            _draw_cell(figure, cell, left, top, (width, height))
    for c, title in enumerate(column_titles):
        x = (LABEL + c * (CELL + GAP) + CELL / 2) / width
        figure.text(x, (height - 0.18) / height, title, ha="center", va="center", size=9)
    what = f"{source.results.data_note().split(';')[0]}; {note}"
    if any(cell.text for row in rows for cell in row):
        what += f"; PSNR of the frame ({source.protocol.name})"
    figure.text(LABEL / width, 0.1 / height, what, size=7, color="0.35", va="center")
    return figure


def _draw_cell(
    figure: Figure, cell: Cell, left: float, top: float, page: tuple[float, float]
) -> None:
    width, height = page
    axes = figure.add_axes((left / width, (top - CELL) / height, CELL / width, CELL / height))
    axes.imshow(
        cell.image, extent=(0, cell.size, cell.size, 0), interpolation="nearest", aspect="auto"
    )
    axes.set_axis_off()
    side = (CELL - GAP) / 2
    below = top - CELL
    for place, (part, (x0, y0, x1, y1)) in enumerate(cell.boxes.items()):
        if cell.framed:
            frame = Rectangle((x0, y0), x1 - x0, y1 - y0, edgecolor=PARTS[part], facecolor="none")
            frame.set_linewidth(1.0)
            axes.add_patch(frame)
        at = (left + place * (side + GAP), below - GAP - side)
        inset = figure.add_axes((at[0] / width, at[1] / height, side / width, side / height))
        ratio = len(cell.image) / cell.size
        crop = [round(v * ratio) for v in (x0, y0, x1, y1)]
        inset.imshow(
            cell.image[crop[1] : crop[3], crop[0] : crop[2]],
            interpolation="nearest",
            aspect="auto",
        )
        inset.set(xticks=[], yticks=[])
        for spine in inset.spines.values():
            spine.set(edgecolor=PARTS[part], linewidth=1.4)
    if cell.text:
        bottom = below - (side + GAP if cell.boxes else 0) - 0.11
        middle = (left + CELL / 2) / width
        figure.text(middle, bottom / height, cell.text, ha="center", va="center", size=7)


def render_pictures(name: str, source: Source) -> dict[str, bytes]:
    """Render one of FIGURES as {"fig1.png": ..., "fig1.pdf": ...}; same input, same bytes."""
    figure = draw(name, source)
    return {f"{name}.{kind}": figures.render(figure, kind) for kind in ("png", "pdf")}
