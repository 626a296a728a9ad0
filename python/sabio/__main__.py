"""The command line: `python -m sabio` runs an unmodified asyncio program on sabio.

Takes what the interpreter's own command line takes to name a program, and hands over to `sabio._program`. Nothing
is decided here but which program that is.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

from sabio import __version__, _children, _program, install

_P = ParamSpec("_P")

_USAGE = """\
usage: python -m sabio [--legacy] [-m MODULE | -c CODE | FILE | -] [ARGS]
       python -m sabio doctor"""

_HELP = f"""{_USAGE}

Run an asyncio program on sabio: whatever event loop it makes is sabio's, and so is all of asyncio that is native.

  FILE        a script, or a directory or zip file with a __main__.py
  -m MODULE   a module or package, as python -m runs it
  -c CODE     a program given as a string
  -           a program read from standard input
  (nothing)   a prompt at which await can be used, or, where there is no terminal, as -
  ARGS        what the program finds in sys.argv[1:]

  doctor      show what sabio is, on what it runs and what this machine lacks, and exit;
              if there is a file of this name, that is run (./doctor is always the file)

  --legacy       bring back what asyncio has lost since Python 3.4, for old programs
  -h, --help     show this and exit
  -V, --version  show the versions of sabio and of Python and exit

Options of the interpreter come before: python -X dev -m sabio app.py"""


def main(arguments: list[str]) -> None:
    """Run the program that the arguments name. SystemExit with status 2 if they are wrong."""
    legacy = arguments[:1] == ["--legacy"]
    if legacy:
        arguments = arguments[1:]
    if not arguments:
        # As the interpreter does by itself: a prompt for people, and a program that is piped in.
        if sys.stdin is not None and sys.stdin.isatty():
            _run(legacy, _program.run_module, "asyncio", [])
        else:
            _run(legacy, _program.run_stdin, [])
        return
    first, rest = arguments[0], arguments[1:]
    if first in ("-h", "--help"):
        print(_HELP)
    elif first in ("-V", "--version"):
        print(f"sabio {__version__} ({platform.python_implementation()} {platform.python_version()})")
    elif first[:2] in ("-c", "-m"):
        # The interpreter lets the value stand right behind the letter, too.
        values = [first[2:], *rest] if len(first) > 2 else rest
        if not values:
            _refuse(f"argument expected for the {first} option")
        _run(legacy, _program.run_code if first[:2] == "-c" else _program.run_module, values[0], values[1:])
    elif first == "-":
        _run(legacy, _program.run_stdin, rest)
    elif first.startswith("-"):
        _refuse(f"unknown option {first}")
    elif first == "doctor" and not legacy and not os.path.lexists(first):
        # A program that could be run before this word had a meaning still can.
        _examine(rest)
    else:
        _run(legacy, _program.run_file, first, rest)


def _run(legacy: bool, program: Callable[_P, None], *arguments: _P.args, **options: _P.kwargs) -> None:
    install(legacy=legacy)
    _children.follow()
    try:
        program(*arguments, **options)
    except SystemExit:
        raise
    except BaseException:
        _program.hide_own_frames()
        raise


def _examine(arguments: list[str]) -> None:
    if arguments:
        _refuse("doctor takes no arguments")
    from sabio import _doctor  # What programs do not need is not imported for them.

    for line in _doctor.report():
        print(line)


def _refuse(reason: str) -> NoReturn:
    print(f"{reason}\n{_USAGE}\nTry `python -m sabio -h` for more information.", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
