"""The judged ledger as Markdown, CSV rows and an HTML section. Same records, same bytes."""

from collections.abc import Sequence
from html import escape
from typing import Any

from fvsr_bench.claims import Judged, Judgement
from fvsr_bench.claims.ledger import Frames, Ledger, Mean, Order, Paired, Rise, Split, Worst
from fvsr_bench.claims.rules import RULES, Item, Verdict
from fvsr_bench.report.tables import titles, training_note
from fvsr_bench.report.text import csv_text

ARITHMETIC_WORDS = {
    "follows": "the paper's printed cells give this number or order",
    "misworded": "the number follows, but it is called something else, or has a wrong unit",
    "contradicts": "the paper's printed cells give something else",
    "stands alone": "nothing else in the paper bears on it",
}
_DIGITS = {"psnr": 2, "ssim": 4, "face": 4}
_TITLES = {"psnr": "PSNR", "ssim": "SSIM", "face": "Face distance"}


def statement(j: Judged, ledger: Ledger) -> str:
    """Say in a few words what is claimed, e.g. "PSNR: FAPN over SOF-VSR by 0.31 dB"."""
    c, m = j.claim, j.claim.measured
    what = _TITLES.get(c.metric, c.metric)
    unit = f" {c.unit}" if c.unit and c.unit != "%" else c.unit
    name = {key: method.title for key, method in ledger.methods.items()}
    match m:
        case Paired():
            amount = f" by {c.value}{unit}" if c.kind == "difference" else ""
            return f"{what}: {name[m.better]} over {', '.join(name[x] for x in m.than)}{amount}"
        case Order():
            return f"{what}: {' over '.join(name[x] for x in m.best_first)}"
        case Worst():
            return f"{what}: {name[m.worst]} below {', '.join(name[x] for x in m.than)}"
        case Frames():
            return f"{what}: {name[m.better]} best in each of the first {m.first} frames"
        case Rise():
            return f"{what}: {name[m.of]} rises from frames 1-{m.early} to {m.late + 1} and later"
        case Mean() if c.kind == "level":
            sign = ">" if m.above else "about"
            return f"{what} of {name[m.of]} {sign} {c.value}{unit}"
        case Mean():
            return f"{what} of {name[m.of]} = {c.value}{unit}"
    return f"{what} = {c.value}{unit}" if c.value else what


def evidence_text(j: Judged) -> str:
    """Say what the records hold: values with intervals, or why there are none."""
    items, missing = j.evidence.items, "; ".join(j.evidence.missing)
    if not items:
        return missing or ("" if j.claim.kind == "arithmetic" else "no results")
    if j.claim.kind == "difference" and j.measured == Verdict.NOT_RESOLVED:
        e = items[0].estimate
        what = "direction as claimed, amount not" if e.low > 0 else "interval holds zero"
        what = what if e.conclusive else "too few subjects"
        missing = "; ".join(part for part in (what, missing) if part)
    if len(items) <= 4:
        text = "; ".join(item_text(j, item) for item in items)
    else:
        weakest = j.evidence.weakest
        assert weakest is not None  # there are items
        good = sum(item.estimate.low > 0 for item in items)
        text = f"{good} of {len(items)} intervals above zero; lowest: {item_text(j, weakest)}"
    return "; ".join(part for part in (text, missing) if part)


def item_text(j: Judged, item: Item) -> str:
    """Print one estimate with its interval, signed when it is a difference."""
    c, e = j.claim, item.estimate
    if isinstance(c.measured, Split):
        return f"{e.mean:.0f} here"
    relative = isinstance(c.measured, Paired) and c.measured.relative
    digits = 2 if relative else _DIGITS.get(c.judged_metric, 3)
    unit = "%" if relative else " dB" if c.judged_metric == "psnr" else ""
    sign = "" if c.kind in ("cell", "level") else "+"
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in (e.mean, e.low, e.high))
    return (
        f"{item.label} {mean}{unit} [{low}, {high}]" if e.bounded else f"{item.label} {mean}{unit}"
    )


def header(judgement: Judgement) -> list[str]:
    """List what a reader must know first: data, runs, counts."""
    arithmetic, measured = judgement.counts()
    paper, results = judgement.ledger.paper, judgement.results
    lines = [f"{len(judgement.claims)} claims of {paper.authors}: {paper.title}."]
    if results is None or not results.complete:
        lines.append("No measured runs: judged by arithmetic alone.")
    else:
        same = "the paper's data" if judgement.same_data else "not the paper's data"
        lines.append(
            f"Data: {results.data_note()} ({same}); protocol {judgement.protocol.name}. "
            "Ours means the weights of this repository, trained here for a limited time: a verdict "
            "is about these runs, not about the authors' network."
        )
        used = {run_id for j in judgement.claims for run_id in j.evidence.runs}
        names = titles(results.complete)
        known = ((names[m.run_id], m.about) for m in results.complete if m.run_id in used)
        lines += training_note(known)
    lines.append("Arithmetic: " + ", ".join(f"{n} {v}" for v, n in arithmetic.items()) + ".")
    lines.append("Measured: " + ", ".join(f"{n} {v}" for v, n in measured.items()) + ".")
    return lines


def markdown(judgement: Judgement) -> str:
    """Render the ledger: counts, statements, table cells, the rules of judging."""
    lines = ["# Claims ledger", "", *(f"- {line}" for line in header(judgement)), ""]
    for title, judged in _groups(judgement):
        body = [
            [
                j.claim.id,
                j.claim.where,
                _says(j, judgement.ledger),
                _joined(j.arithmetic.verdict, j.arithmetic.detail),
                _joined(j.measured, evidence_text(j)),
                " ".join(j.evidence.runs) or "–",
            ]
            for j in judged
        ]
        head = ["Claim", "where", "what it says", "arithmetic", "measured", "run ids"]
        lines += [f"## {title}", "", *_md_table(head, body), ""]
    notes = [f"- **{j.claim.id}**: {j.claim.note}" for j in judgement.claims if j.claim.note]
    lines += ["## Notes", "", *notes, "", "## How it is judged", "", "Arithmetic:", ""]
    lines += [f"- *{name}*: {words}." for name, words in ARITHMETIC_WORDS.items()]
    lines += ["", "Measured (95 % bootstrap intervals over clips, whole subjects resampled):", ""]
    lines += [f"- *{kind}*: {rule.words}" for kind, rule in RULES.items()]
    return "\n".join([*lines, ""])


def _says(j: Judged, ledger: Ledger) -> str:
    short = statement(j, ledger)
    return short if j.claim.kind == "cell" else f"{short} (“{j.claim.quote}”)"


def _md_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table of sentences: not padded, since a column would be as wide as a quote."""
    rows = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]


def _joined(verdict: str, detail: str) -> str:
    return f"{verdict}: {detail}" if detail else str(verdict)


def _groups(judgement: Judgement) -> list[tuple[str, list[Judged]]]:
    cells = [j for j in judgement.claims if j.claim.kind == "cell"]
    others = [j for j in judgement.claims if j.claim.kind != "cell"]
    return [("Statements", others), ("Table cells", cells)]


def rows_of(judgement: Judgement) -> list[dict[str, Any]]:
    """Return one flat dict per claim, full precision: the CSV and JSON form."""
    rows = []
    for j in judgement.claims:
        c, weakest = j.claim, j.evidence.weakest
        e = weakest.estimate if weakest else None
        rows.append(
            {
                "id": c.id,
                "kind": c.kind,
                "where": c.where,
                "quote": c.quote,
                "metric": c.metric,
                "methods": " ".join(c.methods),
                "value": c.value,
                "unit": c.unit,
                "arithmetic": str(j.arithmetic.verdict),
                "arithmetic_detail": j.arithmetic.detail,
                "measured": str(j.measured),
                "measured_detail": evidence_text(j),
                "estimate": round(e.mean, 6) if e else None,
                "low": round(e.low, 6) if e else None,
                "high": round(e.high, 6) if e else None,
                "clips": e.clips if e else None,
                "runs": " ".join(j.evidence.runs),
                "note": c.note,
            }
        )
    return rows


def html_section(judgement: Judgement) -> str:
    """Render the ledger as an HTML fragment: `<section id="claims">`, tables, no script or style.

    Verdict cells carry `class="verdict"` and `data-verdict="reproduced"` and so on.
    """
    parts = ['<section id="claims" aria-labelledby="claims-title">']
    parts.append('<h2 id="claims-title">Claims of the paper</h2>')
    parts += [f"<p>{escape(line)}</p>" for line in header(judgement)]
    for title, judged in _groups(judgement):
        parts.append(f"<details open><summary>{title} ({len(judged)})</summary>")
        parts.append(_html_table(title, judged, judgement.ledger))
        parts.append("</details>")
    rules = "".join(f"<dt>{k}</dt><dd>{escape(r.words)}</dd>" for k, r in RULES.items())
    words = "".join(f"<dt>{k}</dt><dd>{escape(w)}</dd>" for k, w in ARITHMETIC_WORDS.items())
    parts.append(f"<details><summary>How it is judged</summary><dl>{words}{rules}</dl></details>")
    return "\n".join([*parts, "</section>", ""])


def _html_table(title: str, judged: Sequence[Judged], ledger: Ledger) -> str:
    names = ("where", "what it says", "arithmetic", "measured", "run ids")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for j in judged:
        quote = "" if j.claim.kind == "cell" else f"<br><q>{escape(j.claim.quote)}</q>"
        note = f"<br><small>{escape(j.claim.note)}</small>" if j.claim.note else ""
        cells = [
            f'<th scope="row">{escape(j.claim.where)}</th>',
            f"<td>{escape(statement(j, ledger))}{quote}{note}</td>",
            _html_verdict(str(j.arithmetic.verdict), j.arithmetic.detail),
            _html_verdict(str(j.measured), evidence_text(j)),
            f"<td><code>{escape(' '.join(j.evidence.runs))}</code></td>",
        ]
        rows.append(f'<tr id="claim-{escape(j.claim.id)}">{"".join(cells)}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}">'
        f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _html_verdict(verdict: str, detail: str) -> str:
    word = verdict.split(":")[0].replace(" by this data", "")
    return (
        f'<td class="verdict" data-verdict="{word}"><strong>{verdict}</strong> '
        f"{escape(detail)}</td>"
    )


def files(judgement: Judgement) -> dict[str, str]:
    """Render `claims.md` and `claims.csv`."""
    return {"claims.csv": csv_text(rows_of(judgement)), "claims.md": markdown(judgement)}
