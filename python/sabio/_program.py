"""Running a program as the interpreter's command line runs it: for `python -m sabio`.

A program finds what it would find had the interpreter started it: a fresh module `__main__`, its `sys.argv`, its
directory at the head of `sys.path`. What it raises leaves the process the interpreter's way, so that exit statuses,
`sys.excepthook`, SIGINT and `python -i` work as ever; the frames of this package alone are cut off tracebacks.
"""

from __future__ import annotations

import builtins
import io
import linecache
import os
import pkgutil
import runpy
import sys
import textwrap
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any

#: What `python -m` itself runs: it alone fills `__main__` and words its errors as the interpreter does.
_run_module_as_main: Callable[[str, bool], object] = vars(runpy)["_run_module_as_main"]

_ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def run_file(name: str, arguments: list[str]) -> None:
    """Run a script, or the `__main__` of a directory or zip file; exits with status 2 if it cannot be opened."""
    path = _absolute(name)
    sys.argv[:] = [name, *arguments]
    main = _fresh_main()
    if pkgutil.get_importer(path) is not None:
        # Even a safe path has the program's own directory or archive on it.
        _set_first_path(path, even_if_safe=True)
        _run_module_as_main("__main__", False)
        return
    _set_first_path(os.path.dirname(os.path.realpath(path)))
    source = _read(path)
    code: CodeType | None
    if path.endswith(".pyc"):
        compiled = SourcelessFileLoader("__main__", path)
        _describe(main, loader=compiled, file=path)
        code = compiled.get_code("__main__")
    else:
        _describe(main, loader=SourceFileLoader("__main__", path), file=path)
        code = _compile(source, path)
    if code is not None:
        exec(code, vars(main))


def run_module(name: str, arguments: list[str]) -> None:
    """Run a module or a package's `__main__`, as `python -m NAME` does."""
    # The interpreter has put the working directory at the head of sys.path already, to find sabio.
    sys.argv[:] = ["-m", *arguments]
    _fresh_main()
    _run_module_as_main(name, True)


def run_code(source: str, arguments: list[str]) -> None:
    """Run a program given as a string, as `python -c SOURCE` does."""
    sys.argv[:] = ["-c", *arguments]
    main = _fresh_main()
    _describe(main, loader=BuiltinImporter)
    _set_first_path("")
    if sys.version_info >= (3, 14):
        source = textwrap.dedent(source)
    code = _compile(source, "<string>")
    _show_lines_of(code, source)
    exec(code, vars(main))


def run_stdin(arguments: list[str]) -> None:
    """Run a program read from standard input to its end, as `python -` does."""
    sys.argv[:] = ["-", *arguments]
    main = _fresh_main()
    _describe(main, loader=BuiltinImporter, file="<stdin>")
    _set_first_path("")
    exec(_compile(sys.stdin.buffer.read(), "<stdin>"), vars(main))


def hide_own_frames() -> None:
    """Have the interpreter leave this package's frames out when it shows the exception that the program raised.

    To be called right before that exception goes on to the interpreter, which alone knows how a process ends of it.
    """
    hook: _ExceptHook | None = getattr(sys, "excepthook", None)
    if hook is None:
        return

    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sys.excepthook = hook
        traceback = _without_own_frames(traceback)
        error.__traceback__ = sys.last_traceback = traceback
        try:
            hook(kind, error, traceback)
        except SystemExit:
            raise
        except BaseException as hook_error:
            # As the interpreter reports a hook that fails, which would show the frame of this function here.
            raised = hook_error.__traceback__
            hook_error.__traceback__ = None if raised is None else raised.tb_next
            print("Error in sys.excepthook:", file=sys.stderr)
            sys.__excepthook__(type(hook_error), hook_error, hook_error.__traceback__)
            print("\nOriginal exception was:", file=sys.stderr)
            sys.__excepthook__(kind, error, traceback)

    sys.excepthook = show


def _without_own_frames(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and not _is_own(traceback):
        traceback = traceback.tb_next
    while traceback is not None and _is_own(traceback):
        traceback = traceback.tb_next
    return traceback


def _is_own(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_globals.get("__package__") == __package__


def _fresh_main() -> ModuleType:
    main = ModuleType("__main__")
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    vars(main)["__builtins__"] = builtins
    sys.modules["__main__"] = main
    return main


def _describe(main: ModuleType, *, loader: Any, file: str | None = None) -> None:
    main.__loader__ = loader
    if file is not None:
        main.__file__ = file
        if sys.version_info < (3, 15):
            vars(main)["__cached__"] = None


def _absolute(name: str) -> str:
    """The path as the interpreter completes it: it keeps `./` and `..` as they were written."""
    if os.path.isabs(name):
        return name
    try:
        working_directory = os.getcwd()
    except OSError:
        return name
    return working_directory if name in ("", ".") else os.path.join(working_directory, name)


def _set_first_path(path: str, *, even_if_safe: bool = False) -> None:
    """Put the program's directory where the interpreter has put the working directory to find sabio."""
    if not sys.flags.safe_path:
        try:
            working_directory = os.getcwd()
        except OSError:
            working_directory = None
        if sys.path and sys.path[0] == working_directory:
            del sys.path[0]
    elif not even_if_safe:
        return
    sys.path.insert(0, path)


def _read(path: str) -> bytes:
    try:
        with io.open_code(path) as file:
            return file.read()
    except OSError as error:
        program = sys.orig_argv[0]
        message = f"{program}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}"
        print(message, file=sys.stderr)
        raise SystemExit(2) from None


def _compile(source: str | bytes, name: str) -> CodeType:
    options: dict[str, Any] = {"dont_inherit": True}
    if sys.version_info >= (3, 15):
        options["module"] = "__main__"
    code: CodeType = compile(source, name, "exec", **options)
    return code


def _show_lines_of(code: CodeType, source: str) -> None:
    """Let tracebacks show the lines of a program given as a string, which they do from 3.13."""
    if sys.version_info >= (3, 14):
        linecache._register_code(code, source, "<string>")  # type: ignore[attr-defined]
    elif sys.version_info >= (3, 13):
        lines = source.splitlines(keepends=True)
        linecache.cache["<string>"] = (len(source), None, lines, "<string>")
