"""`python -m fvsr_bench`: the same as the console script `fvsr-bench`."""

from fvsr_bench.cli import main

main()
