"""One self-contained page of a results folder: tables, charts, a viewer. Same input, same bytes."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fvsr_bench.files import write_atomic
from fvsr_bench.report import charts, viewer
from fvsr_bench.report.results import Results, load_results
from fvsr_bench.report.sections import PaperTables, plain_tables
from fvsr_bench.report.tables import ONLY_OTHERS, Cell, Row, Table, table1_rows, table2
from fvsr_bench.report.text import interval, number, plus_minus
from fvsr_bench.spec import FAPN_PROTOCOL, EvalProtocol
from fvsr_bench.statistics import FEWEST
from fvsr_bench.strips import read_shown

BUDGET = 24_000_000  # bytes of pictures in a page; the rest of a page is far below one million


@dataclass(frozen=True, kw_only=True)
class Page:
    """A rendered page, and the pictures that lie beside it (none when they are inside)."""

    html: str
    assets: Mapping[str, bytes]  # file name in the page's folder -> content


def render_page(
    results: Results,
    protocol: EvalProtocol = FAPN_PROTOCOL,
    *,
    claims: str = "",
    printed: Mapping[str, PaperTables] | None = None,
    assets: str = "",
) -> Page:
    """Render the page of a results folder.

    `claims` is an HTML fragment (<section>) that stands after the figures. `printed` holds the
    paper's ablations: method -> "Table 3" -> variant -> metric -> number. `assets` names a folder
    beside the page for the pictures; "" puts them inside. Raises UsageError when the pictures do
    not fit into a page.
    """
    kept = read_shown(results.root)
    look = charts.looks(results)
    shown = viewer.build(results, protocol, kept, look, budget=BUDGET, assets=assets)
    table = table2(results, protocol)
    script, style = _source("page.js") + "\n" + _source("viewer.js"), _source("style.css")
    text = _template().render(
        title=f"fvsr-bench: {results.facts.name}",
        facts=results.facts,
        demo=results.facts.kind == "demo",
        data_note=results.data_note(),
        protocol=protocol,
        summary=summary(table),
        table1=table1_rows(results),
        table=table,
        more_tables=plain_tables(results, protocol, printed or {}),
        charts=charts.build(results, protocol, table, look),
        look=look,
        runs=results.manifests,
        claims=Markup(claims),
        viewer=shown,
        data=Markup(_json(shown.data)) if shown else "",
        style=Markup(style),
        script=Markup(script),
        script_hash=_hash(script),
        beside=bool(assets),
        version=_version(results),
        number=number,
        plus_minus=plus_minus,
        interval=interval,
    )
    return Page(html=text, assets=shown.assets if shown else {})


def write_page(
    root: Path,
    protocol: EvalProtocol = FAPN_PROTOCOL,
    *,
    claims: str = "",
    printed: Mapping[str, PaperTables] | None = None,
    assets: bool = False,
) -> Path:
    """Write `index.html` (`index-PROTOCOL.html` for another protocol) into a results folder.

    With `assets` the pictures are written beside it into `index-files/`, and nothing else stays
    there.
    """
    results = load_results(root)
    suffix = "" if protocol == FAPN_PROTOCOL else f"-{protocol.name}"
    folder = f"index{suffix}-files"
    page = render_page(
        results, protocol, claims=claims, printed=printed, assets=folder if assets else ""
    )
    for name, content in page.assets.items():
        write_atomic(root / folder / name, content)
    path = root / f"index{suffix}.html"
    write_atomic(path, page.html)
    for file in (root / folder).glob("*"):  # of an earlier page, perhaps of clips now private
        if file.name not in page.assets:
            file.unlink()
    return path


def summary(table: Table) -> str:
    """Say in a sentence or two what the table shows."""
    rows = [row for row in table.rows if "psnr" in row.cells]
    if not rows:
        return ONLY_OTHERS if ONLY_OTHERS in table.footnotes else "No method has numbers yet."
    first, cell = rows[0], rows[0].cells["psnr"]
    clips = f"{cell.ours.clips} clip{'s' if cell.ours.clips != 1 else ''}"
    text = f"On {clips}, {first.title} has the highest PSNR: {plus_minus(cell.ours, 2)} dB"
    if len(rows) > 1:
        text += _ahead(rows[1].title, rows[1].cells["psnr"])
    text += "."
    if cell.ours.clips < FEWEST:
        are = "is" if cell.ours.clips == 1 else "are"
        text += f" {clips.capitalize()} {are} too few to tell methods apart."
    elif not cell.ours.bounded:
        text += " All are of one subject, and say nothing of others."
    elif not cell.ours.conclusive:
        text += f" They are of {cell.ours.subjects} subjects, too few to tell methods apart."
    face = [row for row in rows if "face" in row.cells and row.cells["face"].best]
    if face:
        value = number(face[0].cells["face"].ours.mean, 3)
        text += f" The smallest Face distance is {value} ({face[0].title})."
    return text + _papers_own(rows) + _training(rows)


def _papers_own(rows: Sequence[Row]) -> str:
    """Say where the method stands that the paper calls "Ours"."""
    for place, row in enumerate(rows, start=1):
        cell = row.cells["psnr"]
        if "Ours" in cell.where and cell.paper is not None:
            mine = f"{number(cell.ours.mean, 2)} dB" + (f", place {place}" if place > 1 else "")
            return (
                f" The paper prints {number(cell.paper, 2)} dB for its own method, {row.title}, on "
                f"300-VW; here it has {mine}."
            )
    return ""


def _training(rows: Sequence[Row]) -> str:
    """Say how long the networks were trained: a short training is not the method's last word."""
    steps = {row.manifest.about.steps for row in rows if row.manifest.about.steps}
    if not steps:
        return ""
    low, high = min(steps), max(steps)
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f" The networks were trained for {span} steps."


def _ahead(title: str, cell: Cell) -> str:
    d = cell.to_best
    if d is None:
        return ""
    between = f" [{-d.high:+.2f}, {-d.low:+.2f}]" if d.bounded else ""
    amount = f"{-d.mean:.2f} dB{between} above {title}, clip by clip"
    if d.excludes_zero:
        return f", {amount}"
    return f", but its lead over {title} is not resolved: {amount}"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2")


def _source(name: str) -> str:
    return resources.files(__package__).joinpath("page").joinpath(name).read_text("utf-8")


def _json(value: Any) -> str:
    """Encode for a <script type="application/json">: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


def _hash(script: str) -> str:
    """Return the CSP source of an inline script: a page runs this script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _version(results: Results) -> str:
    """List the versions of fvsr-bench that measured the numbers."""
    found = {str(m.identity.get("version", "")) for m in results.complete} - {""}
    return ", ".join(sorted(found)) or "unknown"
