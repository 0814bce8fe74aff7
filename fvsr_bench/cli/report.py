"""`fvsr-bench report`: tables, figures and the page of a results folder; keeps its frames."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fvsr_bench.cli.output import print_json, print_table, progress_bar, say, table_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fvsr_bench.claims.ledger import Claim, Ledger, Method
    from fvsr_bench.data.store import Dataset
    from fvsr_bench.evaluate.frames import Maker
    from fvsr_bench.evaluate.plan import Setting
    from fvsr_bench.report.results import Results
    from fvsr_bench.spec import EvalProtocol
    from fvsr_bench.strips import Choice

app = typer.Typer()

RESULTS = typer.Option(Path("results/demo"), "--results", "-r", help="A results folder.")
PROTOCOL = typer.Option("fapn", "--protocol", help="Convention of the table: fapn, sofvsr, …")
OUT = typer.Option(None, "--out", "-o", help="Folder.  [default: RESULTS]")
DATASET = typer.Option(
    None, "--dataset", "-d", help="The dataset of the results, where frames are missing."
)
PRIVATE = typer.Option(
    False, "--private", help="Frames of any licence, all of them; do not pass the page on."
)


@app.command("report")
def report_command(
    results: Path = RESULTS,
    protocol: str = PROTOCOL,
    clips: str | None = typer.Option(
        None,
        "--clips",
        help="Clips to look at: worst, median, best, a number, names, all, none; with commas.  "
        "[default: those of the last time]",
    ),
    assets: bool = typer.Option(
        False, "--assets", help="Pictures beside the page, not in it, without loss; later runs too."
    ),
    grid: bool = typer.Option(
        False, "--protocol-grid", help="How far methods and rankings move between conventions."
    ),
    dataset: Path | None = DATASET,
    private: bool = PRIVATE,
    as_json: bool = typer.Option(False, "--json", help="Print JSON on stdout instead of a table."),
) -> None:
    """Render tables, figures and the page of a results folder again, byte for byte.

    index.html is one file that works offline. --clips chooses whose frames it shows; frames that
    are not there are made by the measured methods, for which the dataset and torch are needed.

    Examples:

      fvsr-bench report --results results/faceclips --protocol sofvsr

      fvsr-bench report --results results/faceclips --protocol-grid

      fvsr-bench report --clips worst,median,best,5

      fvsr-bench report --results results/mine --dataset data/mine --clips all --assets
    """
    if grid:
        return protocol_grid(results, as_json)
    from fvsr_bench.protocols import protocol as find_protocol
    from fvsr_bench.report import load_results, write_report
    from fvsr_bench.report.tables import table2
    from fvsr_bench.strips import Choice, remember_assets

    chosen = find_protocol(protocol)
    if clips is not None:
        loaded = load_results(results)
        setting = None if clips == "none" else find_setting(loaded, chosen, dataset)
        choice = Choice(words=clips, private=private, assets=assets)
        keep(loaded, chosen, choice, setting, {})
    elif assets:
        remember_assets(results)
    loaded, paths = write_report(results, chosen)
    paths.append(write_html(results, chosen))
    table = table2(loaded, chosen)
    if as_json:
        print_json(table_json(table, paths))
    else:
        print_table(table)
        print_paths(results, paths)
    return None


def protocol_grid(results: Path, as_json: bool) -> None:
    """Print and write how far methods and rankings move between conventions."""
    from fvsr_bench.report import write_grid
    from fvsr_bench.report.protocol_grid import grid_rows

    grids, paths = write_grid(results)
    if as_json:
        print_json({"rows": grid_rows(grids), "files": [str(path) for path in paths]})
        return
    say(paths[-1].read_text(encoding="utf-8"))
    for path in paths:
        say(str(path))


def write_html(results: Path, protocol: "EvalProtocol") -> Path:
    """Write the page, with the claims of the paper judged by these records.

    Its pictures lie inside it or beside it as the last choice of clips had them.
    """
    from fvsr_bench.claims import judge_folder
    from fvsr_bench.claims.text import html_section
    from fvsr_bench.report.html import write_page
    from fvsr_bench.strips import read_choice

    judgement, choice = judge_folder(results, protocol=protocol), read_choice(results)
    return write_page(
        results,
        protocol,
        claims=html_section(judgement) + _phase_section(results, protocol),
        printed=printed_ablations(judgement.ledger),
        assets=choice is not None and choice.assets,
    )


def _phase_section(results: Path, protocol: "EvalProtocol") -> str:
    """Render the phase experiment that lies beside the results of the same dataset, if any."""
    from fvsr_bench.explain.finding import read_phase
    from fvsr_bench.explain.text import html_section
    from fvsr_bench.manifest import read_facts

    beside = results.resolve().parent / "phase"
    theirs = beside / "bi" / "manifests" / "dataset.json"
    ours = results / "manifests" / "dataset.json"
    if not theirs.exists() or read_facts(theirs).id != read_facts(ours).id:
        return ""
    return html_section(read_phase(beside, protocol))


def printed_ablations(ledger: "Ledger") -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Collect the paper's Tables 3 and 4 by method, table, variant (as in `ablate`) and metric."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for claim, table, method in _ablation_claims(ledger):
        mine = found.setdefault(method.model, {}).setdefault(table, {})
        mine.setdefault(_variant(method), {})[claim.metric] = float(claim.value)
    return found


def printed_names(ledger: "Ledger", model: str, table: str) -> dict[str, str]:
    """Say what the paper calls the variants of a method in its Table 3 or 4."""
    mine = [m for _, t, m in _ablation_claims(ledger) if (m.model, t) == (model, table)]
    return {_variant(m): m.title.rpartition(", ")[2] for m in mine}


def _ablation_claims(ledger: "Ledger") -> "Iterator[tuple[Claim, str, Method]]":
    for claim in ledger.cells.values():
        table = claim.where.partition(",")[0]
        if table in ("Table 3", "Table 4") and claim.methods:
            yield claim, table, ledger.methods[claim.methods[0]]


def _variant(method: "Method") -> str:
    loss = method.loss.rpartition("+")[2]
    if loss not in ("", "mse"):
        return f"loss-{loss}"
    return "-".join(f"no-{part}" for part in sorted(method.without)) or "full"


def keep(
    results: "Results",
    protocol: "EvalProtocol",
    choice: "Choice",
    setting: "Setting | None",
    makers: "Mapping[str, Maker]",
) -> None:
    """Choose the clips that pages show and make the missing frames; says what it cannot make."""
    from fvsr_bench.evaluate.frames import keep_frames, showable
    from fvsr_bench.report.choose import choose, ranking
    from fvsr_bench.strips import write_shown

    if setting is None:
        write_shown(results.root, choice, [])
        return
    ranked = ranking(results, protocol)
    able = showable(setting.dataset, ranked, private=choice.private)
    chosen = choose(ranked, choice.words, able)
    with progress_bar("frames to look at") as tick:
        clips = {clip: able[clip] for clip in chosen}
        notes = keep_frames(results.root, clips, results.complete, setting, makers, tick)
    write_shown(results.root, choice, chosen)
    if ranked and not able and choice.words != "none":
        notes.append("no frames are shown: no clip's licence allows it (--private: for yourself)")
    for note in notes:
        typer.echo(note, err=True)


def keep_again(
    results: "Results",
    protocol: "EvalProtocol",
    setting: "Setting",
    makers: "Mapping[str, Maker]",
) -> None:
    """Make the frames of new runs for the clips chosen the last time, or for the default ones."""
    from fvsr_bench.report.choose import DEFAULT
    from fvsr_bench.strips import Choice, read_choice

    choice = read_choice(results.root) or Choice(words=DEFAULT)
    if results.complete:
        keep(results, protocol, choice, None if choice.words == "none" else setting, makers)


def find_setting(results: "Results", protocol: "EvalProtocol", dataset: Path | None) -> "Setting":
    """Open the dataset that results were measured on. Raises UsageError if it is another one."""
    from fvsr_bench.cli.run import make_setting
    from fvsr_bench.errors import UsageError

    facts = results.facts
    if dataset is None and facts.kind != "demo":
        raise UsageError(
            f"--clips needs the frames of dataset '{facts.name}': say where it is: --dataset DIR"
        )
    where = str(dataset or "demo")
    setting = make_setting(where, facts.split, protocol, "auto", "fp32", True, 0)
    _check_same(setting.dataset, results, where)
    return setting


def _check_same(dataset: "Dataset", results: "Results", where: str) -> None:
    from fvsr_bench.errors import UsageError

    facts = results.facts
    if dataset.id != facts.id:
        raise UsageError(
            f"{where} is dataset '{dataset.name}' ({dataset.id}), but {results.root} was measured "
            f"on '{facts.name}' ({facts.id}): name that one with --dataset"
        )


def print_paths(out: Path, paths: list[Path]) -> None:
    """Say where the results are."""
    say(f"\nrecords   {out / 'records'}")
    for path in paths:
        if path.suffix in (".md", ".png", ".html"):
            say(f"{path.stem:<9} {path}")
