"""The command line: one typer app, the files of this folder as its commands, one line per error."""

import errno
import importlib
import inspect
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from fvsr_bench.errors import FvsrError, did_you_mean

# (file of this folder, name of its group; None = its commands stand at the top level)
PARTS: tuple[tuple[str, str | None], ...] = (
    ("run", None),
    ("report", None),
    ("plot", "plot"),
    ("data", "data"),
    ("train", None),
    ("ablate", None),
    ("weights", "weights"),
    ("claims", None),
    ("compare", None),
    ("explain", "explain"),
    ("score", None),
    ("enhance", None),
    ("export", None),
    ("check", None),
    ("doctor", None),
)
WELCOME = """\
fvsr-bench {version}: benchmark for face video super-resolution (x4, 40x40 -> 160x160)

The five commands most people need:
  fvsr-bench run --models all                      all methods on the built-in demo set: Table 2
  fvsr-bench data prepare VIDEOS --out data/mine   your face videos -> 32-frame clips
  fvsr-bench run --models all --dataset data/mine  the same table on your clips
  fvsr-bench train fapn --data data/mine --tag mine   train a method
  fvsr-bench models                                what is there: size, cost, weights, licence

All commands: fvsr-bench --help
"""


class Interrupted(Exception):
    """Ctrl-C inside a command; keeps it apart from typer's own exit codes."""


class Group(TyperGroup):
    """A command group whose Ctrl-C reaches `main` under any version of typer."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn Ctrl-C into `Interrupted`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted from error


app = typer.Typer(
    name="fvsr-bench",
    cls=Group,
    help="Benchmark and reproduction harness for face video super-resolution (x4).",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from fvsr_bench import __version__

        typer.echo(f"fvsr-bench {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def welcome(
    ctx: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Benchmark and reproduction harness for face video super-resolution (x4)."""
    if ctx.invoked_subcommand is None:
        from fvsr_bench import __version__

        typer.echo(WELCOME.format(version=__version__), nl=False)


def _register() -> None:
    """Add every file of this folder: its `app`, or else each public function as a command."""
    for name, group in PARTS:
        part = importlib.import_module(f"{__name__}.{name}")
        if hasattr(part, "app"):
            app.add_typer(part.app, name=group)
            continue
        for word, function in vars(part).items():
            own = getattr(function, "__module__", "") == part.__name__
            if own and inspect.isfunction(function) and not word.startswith("_"):
                app.command(word.replace("_", "-"))(function)


_register()


def main() -> NoReturn:
    """Run the command line: exit 0, 1 (expected failure), 2 (usage) or 130 (interrupted)."""
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Run one command line; return its exit code. Every failure is one line on stderr."""
    try:
        code = app(args=args, prog_name="fvsr-bench", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (Interrupted, KeyboardInterrupt) as stop:
        text = str(stop) or "interrupted; the same command continues where it stopped"
        return _fail(text, 130, head="")
    except SystemExit as stop:  # typer: shell completion, a closed pipe
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BrokenPipeError:  # `fvsr-bench models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("FVSR_BENCH_DEBUG"):
            raise
        return _report(error)


def _report(error: Exception) -> int:
    if isinstance(error, FvsrError):
        return _fail(str(error), error.exit_code)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # a usage error of typer
        return _usage(error)
    if isinstance(error, OSError):
        return _fail(_os_message(error), 1)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return _fail(
            "out of memory; close other programs or use --device cpu, then run the same "
            "command again: it continues where it stopped",
            1,
        )
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return _fail(
        f"unexpected {type(error).__name__} at {place}: {error or 'no message'} "
        "(set FVSR_BENCH_DEBUG=1 for the traceback)",
        1,
    )


def _usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without its command
        error.show()
        return 2
    message = error.format_message().strip().rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "fvsr-bench"
    word = _unknown_command(message)
    if word and context is not None and "mean" not in message:
        message = f"unknown command '{word}'.{did_you_mean(word, context.command.commands)}"
    return _fail(f"{message}{'' if message.endswith(('?', '.')) else '.'} See '{path} --help'.", 2)


def _unknown_command(message: str) -> str:
    head = "No such command '"
    return message[len(head) :].split("'")[0] if message.startswith(head) else ""


def _os_message(error: OSError) -> str:
    name = f" '{error.filename}'" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full{f' (writing{name})' if name else ''}: free some space, then run "
            "the same command again; it continues where it stopped"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"no permission for{name or ' a file'}: choose a folder that you can write to (--out)"
        )
    if error.errno == errno.ENOENT:
        return f"no such file or folder:{name or f' {error}'}"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return (
            f"{error.strerror}:{name}: expected the other of file and folder; choose another path"
        )
    return f"{error.strerror or error}{name and f':{name}'}"


def _fail(message: str, code: int, head: str = "error: ") -> int:
    line = " ".join(message.split())
    typer.echo(f"{head}{line}", err=True)
    return code
