"""The errors a user can meet: what was wrong, where, what was expected, what to do next."""

import difflib
from collections.abc import Iterable


class FvsrError(Exception):
    """An expected failure: the command line prints its one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(FvsrError):
    """The command was asked for something that does not exist or does not fit: exit code 2."""

    exit_code = 2


class DataError(FvsrError):
    """A dataset, clip, video or image is missing, half-made or not what its index says."""


class WeightsError(FvsrError):
    """Weights are missing, corrupt, of another method, or from a newer version."""


class ModelError(FvsrError):
    """A method failed to import or to build, or returned no super-resolved clip."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest known word, else the list of known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(known)}."


def unknown(kind: str, word: str, known: Iterable[str]) -> UsageError:
    """Build the error for a word that is not in a known set, with the nearest known one."""
    return UsageError(f"unknown {kind} '{word}'.{did_you_mean(word, known)}")
