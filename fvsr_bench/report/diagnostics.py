"""The shift diagnostic and the protocol grid as text. Same records, same bytes."""

from collections.abc import Sequence

from fvsr_bench.displacement import WARN
from fvsr_bench.report.protocol_grid import Grid
from fvsr_bench.report.shift import ShiftRow
from fvsr_bench.report.tables import titles
from fvsr_bench.report.text import md_table


def shift_markdown(rows: Sequence[ShiftRow], note: str) -> str:
    """Render the diagnostic as Markdown, warnings below the table."""
    head = ["Method", "weights", "right, px", "down, px", "spread, px", "displaced clips"]
    head += ["gain in PSNR, dB", "gain in SSIM"]
    names = titles([row.manifest for row in rows])
    body = [
        [
            names[row.manifest.run_id],
            row.manifest.weights,
            f"{row.shift.dx:+.2f}",
            f"{row.shift.dy:+.2f}",
            f"{row.spread:.2f}",
            f"{row.above} of {row.clips}",
            f"{row.psnr_gain:+.2f}",
            f"{row.ssim_gain:+.4f}",
        ]
        for row in rows
    ]
    lines = [f"**Shift diagnostic** ({note})", "", *md_table(head, body), ""]
    lines += [f"- {names[r.manifest.run_id]}: {r.warning}." for r in rows if r.warning]
    lines += [
        f"- Median over clips of the best global shift of SR against the ground truth; a clip is "
        f"displaced above {WARN:g} px. Gains: shift-compensated minus plain, 4 frames per clip, "
        "8 px of border left out. A small gain without displacement is the smoothing of the "
        "interpolation.",
        "",
    ]
    return "\n".join(lines)


def grid_markdown(grids: Sequence[Grid], note: str) -> str:
    """Render the protocol grid: how far methods move, what moves them, which rankings hold."""
    lines = [f"# Protocol grid ({note})", ""]
    lines += ["The same stored frames, measured under every convention; no network was run.", ""]
    for grid in grids:
        lines += [f"## {grid.metric.title}", "", *_moves(grid), "", *_steps(grid), ""]
        lines += [*_ranking(grid), "", *_presets(grid), ""]
    return "\n".join(lines)


def _moves(grid: Grid) -> list[str]:
    digits, default = grid.metric.digits, grid.conventions[0].name
    head = ["Method", f"default ({default})", "lowest", "under", "highest", "under", "moves by"]
    body = []
    for run_id in grid.means.columns:
        column = grid.means[run_id]
        low, high = str(column.idxmin()), str(column.idxmax())
        numbers = (column.iloc[0], column[low], column[high], column[high] - column[low])
        a, b, c, d = (f"{value:.{digits}f}" for value in numbers)
        rank = grid.ranks[run_id]
        ranks = f"{rank.min()}" if rank.min() == rank.max() else f"{rank.min()} to {rank.max()}"
        body.append([grid.titles[run_id], a, b, low, c, high, d, ranks])
    return md_table([*head, "rank"], body)


def _steps(grid: Grid) -> list[str]:
    digits = grid.metric.digits + 1
    body = [
        [
            name,
            f"{change.mean():+.{digits}f}",
            f"{change.min():+.{digits}f} to {change.max():+.{digits}f}",
        ]
        for name, change in grid.steps().items()
    ]
    head = ["One step from the default", "mean change", "over the methods"]
    return md_table(head, body)


def ranking_sentence(grid: Grid) -> str:
    """Say in how many conventions the default order holds, and what the others do to it."""
    total = len(grid.conventions)
    text = (
        f"The order of the {len(grid.means.columns)} methods under the default convention holds in "
        f"{grid.same_order} of {total} conventions"
    )
    swaps = [pair for pair in grid.pairs if pair.b_ahead]
    if not swaps:
        return text + "; no pair of methods changes places."
    hard = [pair for pair in swaps if pair.a_resolved and pair.b_resolved]
    return (
        f"{text}; {len(swaps)} of {len(grid.pairs)} pairs change places somewhere, {len(hard)} of "
        "them with an interval that excludes zero on either side."
    )


def _ranking(grid: Grid) -> list[str]:
    swaps = [pair for pair in grid.pairs if pair.b_ahead]
    lines = [ranking_sentence(grid)]
    if swaps:
        head = ["Ahead by default", "behind", "ahead in", "resolved in", "behind in", "resolved in"]
        body = [
            [
                grid.titles[pair.a],
                grid.titles[pair.b],
                *map(str, (pair.a_ahead, pair.a_resolved, pair.b_ahead, pair.b_resolved)),
            ]
            for pair in swaps
        ]
        lines += ["", *md_table(head, body)]
    return lines


def _presets(grid: Grid) -> list[str]:
    digits = grid.metric.digits
    head = ["As measured by", *(grid.titles[run_id] for run_id in grid.presets.columns)]
    body = [
        [str(name), *(f"{value:.{digits}f}" for value in row)]
        for name, row in grid.presets.iterrows()
    ]
    return md_table(head, body)
