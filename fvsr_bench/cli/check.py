"""`fvsr-bench check`: does a method keep what a method promises?"""

from typing import Annotated

import typer


def check(
    method: Annotated[
        str, typer.Argument(help="METHOD, METHOD@WEIGHTS or a file: ./my_model.py[@WEIGHTS].")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Try out what a method promises: shape, look-ahead, batches, repetition, streaming.

    On small random clips, with the method's weights, or random ones where it has none. Exit code 1
    if a promise is not kept.

    Examples:

      fvsr-bench check ./my_model.py

      fvsr-bench check sofvsr@bi
    """
    import dataclasses

    from fvsr_bench.cli.output import print_json, say
    from fvsr_bench.errors import ModelError
    from fvsr_bench.promises import keep_promises

    name, _, weights = method.partition("@")
    promises = list(keep_promises(name, weights or None))
    if as_json:
        print_json([dataclasses.asdict(promise) for promise in promises])
    else:
        words = {True: "kept", False: "BROKEN", None: "not made"}
        for p in promises:
            say(f"{words[p.kept]:9} {p.name}" + (f": {p.detail}" if p.detail else ""))
    broken = [p.name for p in promises if p.kept is False]
    if broken:
        raise ModelError(f"{method} does not keep {len(broken)} of {len(promises)} promises")
