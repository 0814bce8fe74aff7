"""The phase finding as Markdown and as a figure. Same records, same bytes."""

import math
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from fvsr_bench.explain.finding import NEAR, PAPER, Finding, Level, Test
from fvsr_bench.report.figures import STYLE
from fvsr_bench.report.text import md_table, paired, plus_minus
from fvsr_bench.statistics import Estimate

HYPOTHESIS = (
    "Hypothesis: weights made for LR frames that keep pixel 0 of every 4x4 block (BD) were fed LR "
    "frames that take its centre (BI), which displaces the output by 1.5 px."
)
WITHOUT = (
    "PSNR without shift: the PSNR plus what taking the displacement out gains on 4 frames "
    "of each clip, 8 px of border left out."
)
CAVEAT = (
    "Levels belong to the data; what is compared with the paper is the gap to VESPCN, clip by "
    "clip, 95 % bootstrap intervals with whole subjects resampled. A result that supports the "
    "hypothesis does not prove what the authors did."
)
_HEAD = (
    *("Method", "weights", "made for", "LR frames", "phase", "PSNR, dB", "SSIM", "paper"),
    *("shift (right, down)", "PSNR without shift"),
)


def gap_text(e: Estimate | None) -> str:
    """Print a gap in dB with its interval."""
    return "not measured" if e is None else paired(e, 2, " dB")


def sentence(test: Test) -> str:
    """Say in one line what the experiment says about one method."""
    paper = f"the paper prints it {test.paper_gap:+.2f} dB from VESPCN"
    back = ""
    if test.reverse_gap and test.reverse_cost:
        back = (
            f". The mismatch the other way (weights made for BI frames, fed BD frames) costs "
            f"{gap_text(test.reverse_cost)} and puts it {gap_text(test.reverse_gap)} from VESPCN"
        )
    if test.gap is None:
        return f"{test.title}: not tested ({'; '.join(test.missing)} missing); {paper}{back}"
    meaning = {
        "supported": f"hypothesis supported: all within {NEAR:g} dB of the paper's gap",
        "too small": "the mismatch alone does not explain the paper's number",
        "too large": "the mismatch would put it even lower than the paper does",
        "not resolved": "not resolved by this data",
    }[test.answer]
    matched = f", {gap_text(test.matched_gap)} with matched weights" if test.matched_gap else ""
    return (
        f"{test.title}: {meaning}. Weights made for BD frames, fed BI frames, stand "
        f"{gap_text(test.gap)} from VESPCN here{matched}; {paper}{back}"
    )


def markdown(finding: Finding, missing: tuple[str, ...] = ()) -> str:
    """Render the finding: the hypothesis, its tests, all levels, and what is missing."""
    body = [_level_cells(level) for level in finding.levels]
    lines = [
        "**Does a wrong decimation phase explain FRVSR and TecoGAN in the paper's Table 2?**",
        "",
        HYPOTHESIS,
        "",
        *(f"- {sentence(test)}." for test in finding.tests),
        "",
        *md_table(_HEAD, body),
        "",
        f"- {finding.note}.",
        f"- {WITHOUT}",
        f"- {CAVEAT}",
    ]
    if missing:
        lines += ["", "Not trained yet, so not evaluated; these commands make them:", ""]
        lines += [f"    {command}" for command in missing]
    return "\n".join([*lines, ""])


def html_section(finding: Finding) -> str:
    """Render the finding as an HTML fragment: `<section id="phase">`, no script or style."""
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEAD)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(text)}</th>' if k == 0 else f"<td>{escape(text)}</td>"
            for k, text in enumerate(_level_cells(level))
        )
        + "</tr>"
        for level in finding.levels
    )
    items = "".join(f"<li>{escape(sentence(test))}.</li>" for test in finding.tests)
    return (
        '<section id="phase" aria-labelledby="phase-title">\n'
        '<h2 id="phase-title">Does the decimation phase explain FRVSR and TecoGAN?</h2>\n'
        f"<p>{escape(HYPOTHESIS)}</p>\n<ul>{items}</ul>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="Weights and LR frames">'
        "<table><caption>Matched and mismatched weights</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n"
        f"<p>{escape(finding.note)}. {escape(WITHOUT)} {escape(CAVEAT)}</p>\n</section>\n"
    )


def _level_cells(level: Level) -> list[str]:
    m, paper = level.manifest, PAPER.get(level.manifest.model)
    word = "matched" if level.matched else "mismatched"
    shift = f"{level.shift.dx:+.2f}, {level.shift.dy:+.2f} px" if level.shift else "–"
    without = level.psnr.mean + level.psnr_gain
    return [
        m.about.title,
        m.weights,
        level.trained or "–",
        level.data,
        word,
        plus_minus(level.psnr, 2),
        f"{level.ssim.mean:.3f}",
        f"{paper[0]:.2f} / {paper[1]:.3f}" if paper else "–",
        shift,
        "–" if math.isnan(without) else f"{without:.2f}",
    ]


def figure(finding: Finding) -> Figure:
    """Draw PSNR per method, weights and LR frames, with the paper's numbers as lines."""
    methods = dict.fromkeys(level.manifest.model for level in finding.levels)
    groups = [
        sorted(
            (level for level in finding.levels if level.manifest.model == method),
            key=lambda level: (not level.matched, level.data != "bi"),
        )
        for method in methods
    ]
    shown = [level for group in groups for level in group]
    looks = {True: (sns.color_palette("colorblind")[0], "o"), False: ("#D55E00", "X")}
    with plt.rc_context(STYLE):
        size = (max(6.5, 1.4 + 0.85 * len(shown)), 4.6)
        fig, axes = plt.subplots(figsize=size, layout="constrained")
        ticks, k = [], 0.0
        for group in groups:
            if paper := PAPER.get(group[0].manifest.model):
                ends = [k - 0.45, k + len(group) - 0.55]
                axes.plot(ends, [paper[0]] * 2, color="black", linewidth=2)
                axes.annotate(
                    f"paper {paper[0]:.2f}",
                    (ends[0], paper[0]),
                    (0, -10),
                    textcoords="offset points",
                    fontsize=8,
                )
            axes.text(
                k + (len(group) - 1) / 2,
                1.01,
                group[0].manifest.about.title.removesuffix(" †"),
                transform=axes.get_xaxis_transform(),
                ha="center",
                weight="bold",
            )
            for level in group:
                e, (colour, marker) = level.psnr, looks[level.matched]
                spread = [[e.mean - e.low], [e.high - e.mean]]
                axes.errorbar(k, e.mean, spread, fmt=marker, color=colour, capsize=3, markersize=8)
                axes.annotate(
                    f"{e.mean:.2f}",
                    (k, np.fmax(e.mean, e.high)),
                    (0, 4),
                    textcoords="offset points",
                    ha="center",
                    fontsize=9,
                )
                ticks.append((k, f"{level.trained or 'no weights'}\n→ {level.data}"))
                k += 1
            k += 0.6
        for matched, text in ((True, "of the right phase"), (False, "of the other phase")):
            colour, marker = looks[matched]
            axes.plot([], [], marker, color=colour, markersize=8, label=f"LR frames {text}")
        axes.plot([], [], color="black", linewidth=2, label="printed by the paper (other data)")
        axes.set(ylabel="PSNR (dB)", xlabel="weights made for → LR frames they were fed")
        axes.set_xticks(*zip(*ticks, strict=True), fontsize=8)
        axes.set_xlim(-0.6, k - 0.6)
        axes.grid(axis="y", color="0.92")
        fig.suptitle(
            f"{finding.note}; whiskers: 95 %, subjects resampled", fontsize=8, color="0.35"
        )
        fig.legend(loc="outside lower center", ncols=3, fontsize=8)
        sns.despine(fig)
    return fig
