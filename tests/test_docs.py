"""The documentation is true: what its pages show is run, and what they list is there.

In a page, a `python` block that begins with a comment `# NAME.py` is a file; any other one is a program, run by
itself, and a `text` block right behind it is what it prints. In a `console` block, lines with `$` are commands and
the others what they print; `...` stands for anything. A block whose information string ends with `>=3.X` needs that
version of Python.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "docs/tutorial.md", "docs/how-to.md", "docs/reference.md", "docs/differences.md"]

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    line: int
    language: str
    needs: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    text = (ROOT / page).read_text()
    for match in FENCE.finditer(text):
        language, _, needs = match["info"].partition(" >=")
        yield Block(text.count("\n", 0, match.start()) + 1, language, needs, match["text"])


def is_too_new(block: Block) -> bool:
    return bool(block.needs) and sys.version_info < tuple(map(int, block.needs.split(".")))


def run_program(arguments: list[str], directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def check_console(block: Block, directory: Path) -> None:
    """Run the commands of a block, with `python` as the interpreter that runs the tests."""
    for command, expected in re.findall(r"^\$ ([^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", block.text, re.MULTILINE):
        done = subprocess.run(
            command,
            shell=True,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        pattern = re.escape(expected).replace(re.escape("..."), ".*")
        assert re.fullmatch(pattern, done.stdout, re.DOTALL), f"{command} prints\n{done.stdout}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_is_what_happens(page: str, tmp_path: Path) -> None:
    # The commands of the README build the project: that is not for a test of it.
    languages = {"python", "text"} if page == "README.md" else {"python", "text", "console"}
    printed: str | None = None
    for block in blocks(page):
        if is_too_new(block):
            printed = None
            continue
        file = re.match(r"# ([\w/]+\.py)\n", block.text)
        if block.language == "python" and file:
            (tmp_path / file[1]).write_text(block.text)
        elif block.language == "python":
            program = tmp_path / f"line_{block.line}.py"
            program.write_text(block.text)
            printed = run_program([program.name], tmp_path)
            continue
        elif block.language == "text" and printed is not None:
            assert block.text == printed, f"{page}, line {block.line}"
        elif block.language == "console" and "console" in languages:
            check_console(block, tmp_path)
        else:
            assert page == "README.md", f"{page}, line {block.line}: a block that nobody runs"
        printed = None


def test_the_reference_names_everything_public(sabio: ModuleType) -> None:
    text = (ROOT / "docs/reference.md").read_text()
    # asyncio's own objects are in asyncio's own documentation.
    ours = [name for name in sabio.__all__ if getattr(sabio, name) is not getattr(asyncio, name, None)]
    assert {"Loop", "run", "install"} <= set(ours)
    assert [name for name in ours if f"`sabio.{name}" not in text] == []


def test_the_reference_names_every_method_of_the_loop(sabio: ModuleType) -> None:
    text = (ROOT / "docs/reference.md").read_text()
    methods = {name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_")}
    assert sorted(name for name in methods if f"`{name}`" not in text) == []


@pytest.mark.parametrize("page", ["docs/differences.md", "docs/faults.md"])
def test_what_a_page_says_is_pinned_by_tests_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"\(\.\./(tests/[\w/]+\.py)\)(?:\s+`(\w+)`)?", text)
    assert named
    for path, test in named:
        source = (ROOT / path).read_text()
        assert not test or re.search(rf"\bdef {test}\(", source), f"{path} has no {test}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        targets = re.findall(r"\]\((?!http)([^)#]+)", page.read_text())
        missing = [target for target in targets if not (page.parent / target).exists()]
        assert missing == [], page.name
