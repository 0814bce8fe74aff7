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
    shown = sorted(finding.levels, key=lambda x: (x.manifest.about.title, x.data, x.trained))
    names = [f"{x.manifest.about.title}\n{x.trained or '–'} → {x.data}" for x in shown]
    colours = sns.color_palette("colorblind", 4)
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            figsize=(max(6.5, 1.4 + 1.05 * len(shown)), 4.5), layout="constrained"
        )
        for k, level in enumerate(shown):
            e = level.psnr
            colour = colours[0] if level.matched else colours[1]
            axes.bar(k, e.mean, 0.62, color=colour, hatch="" if level.matched else "//")
            axes.errorbar(k, e.mean, [[e.mean - e.low], [e.high - e.mean]], color="0.2", capsize=3)
            axes.annotate(
                f"{e.mean:.2f}",
                (k, np.fmax(e.mean, e.high)),
                (0, 4),
                textcoords="offset points",
                ha="center",
            )
            if paper := PAPER.get(level.manifest.model):
                axes.plot([k - 0.4, k + 0.4], [paper[0]] * 2, color="black", linewidth=2)
        axes.bar(0, 0, 0, color=colours[0], label="LR frames of the right phase")
        axes.bar(0, 0, 0, color=colours[1], hatch="//", label="LR frames of the other phase")
        axes.plot([], [], color="black", linewidth=2, label="printed by the paper (other data)")
        low = min(
            [np.fmin(x.psnr.mean, x.psnr.low) for x in shown] + [p for p, _ in PAPER.values()]
        )
        axes.set(ylabel="PSNR (dB)", ylim=(math.floor(low) - 1, None))
        axes.set_xticks(range(len(shown)), names)
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_title("Weights made for → LR frames they were fed")
        fig.legend(loc="outside lower left", fontsize=8)
        sns.despine(fig)
    return fig
