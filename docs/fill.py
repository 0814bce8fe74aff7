"""Copy the tables that pages show from the files that commands wrote: `make docs`.

A page says `<!-- from results/x/table2.md -->`, the table, `<!-- end -->`; what stands between is
replaced. tests/contract/test_docs.py fails while a page shows an older table.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- from (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str) -> str:
    """Return a page with every marked block replaced by the file it names."""
    return BLOCK.sub(lambda m: f"{m[1]}{(ROOT / m[2]).read_text().strip()}\n{m[3]}", text)


if __name__ == "__main__":
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        before = page.read_text(encoding="utf-8")
        if (after := fill(before)) != before:
            page.write_text(after, encoding="utf-8")
