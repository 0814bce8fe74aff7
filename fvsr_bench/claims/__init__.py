"""A paper's printed numbers and statements, judged by its own arithmetic and by stored records."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fvsr_bench.claims.arithmetic import Arithmetic, ArithmeticJudgement, judge_arithmetic
from fvsr_bench.claims.ledger import Claim, Ledger, load_ledger
from fvsr_bench.claims.lookup import Source, gather, is_papers_data
from fvsr_bench.claims.rules import Evidence, Verdict, judge_measured
from fvsr_bench.records import protocol_key
from fvsr_bench.report.results import Results, load_results
from fvsr_bench.report.tables import METRICS
from fvsr_bench.spec import FAPN_PROTOCOL, EvalProtocol

__all__ = ["Judged", "Judgement", "judge", "judge_folder", "load_ledger"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One claim with both verdicts."""

    claim: Claim
    arithmetic: ArithmeticJudgement
    measured: Verdict
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The whole ledger, judged on one results folder (None: by arithmetic alone)."""

    ledger: Ledger
    results: Results | None
    protocol: EvalProtocol
    same_data: bool  # the results are of the paper's own dataset
    claims: tuple[Judged, ...]

    def counts(self) -> tuple[dict[Arithmetic, int], dict[Verdict, int]]:
        """Count the claims per verdict, every verdict listed."""
        sums = Counter(j.arithmetic.verdict for j in self.claims)
        seen = Counter(j.measured for j in self.claims)
        return {v: sums[v] for v in Arithmetic}, {v: seen[v] for v in Verdict}


def judge(
    ledger: Ledger, results: Results | None, protocol: EvalProtocol = FAPN_PROTOCOL
) -> Judgement:
    """Judge every claim twice; without results everything measured is "not tested here"."""
    usable = results if results is not None and results.complete else None
    same = usable is not None and is_papers_data(usable.facts, ledger)
    source = None
    if usable is not None:
        rows = usable.records  # the conventions that are asked for: a small part of all rows
        keys = {protocol_key(metric.name, protocol) for metric in METRICS}
        slim = dataclasses.replace(usable, records=rows[rows["protocol"].isin(keys)])
        source = Source(ledger=ledger, results=slim, protocol=protocol)
    judged = []
    for claim in ledger.claim:
        evidence = Evidence(missing=(claim.untested,) if claim.untested else ())
        if source is not None:
            evidence = gather(claim, source)
        judged.append(
            Judged(
                claim=claim,
                arithmetic=judge_arithmetic(claim, ledger),
                measured=judge_measured(claim, evidence, same),
                evidence=evidence,
            )
        )
    return Judgement(
        ledger=ledger,
        results=results,
        protocol=protocol,
        same_data=same,
        claims=tuple(judged),
    )


def judge_folder(
    root: Path, ledger: Path | None = None, protocol: EvalProtocol = FAPN_PROTOCOL
) -> Judgement:
    """Judge a ledger (None = the paper under reproduction) on a results folder."""
    return judge(load_ledger(ledger), load_results(root), protocol)
