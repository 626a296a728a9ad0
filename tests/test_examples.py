"""The programs in `examples/` run unmodified on plain Python and on sabio, with the same results."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def launch(
    loop: str, program: str, *arguments: str, warnings: str = "error", timeout: float = 25.0
) -> subprocess.CompletedProcess[str]:
    """Runs an example, with warnings turned into errors, for at most `timeout` seconds."""
    launcher = ["-m", "sabio"] if loop == "sabio" else []
    command = [sys.executable, "-W", warnings, *launcher, str(EXAMPLES / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def findings(output: str) -> dict[str, str]:
    """The lines `name: value` that a program has printed."""
    return dict(re.findall(r"^(\w+): +(.+)$", output, re.MULTILINE))


@pytest.mark.usefixtures("sabio")
def test_crawl_finds_the_same_pages_and_links_on_both_loops() -> None:
    """The counts agree with each other and each program has run on the loop that it should."""
    plain, native = launch("asyncio", "crawl.py"), launch("sabio", "crawl.py")
    assert (plain.returncode, plain.stderr) == (0, "")
    assert (native.returncode, native.stderr) == (0, "")
    on_plain, on_native = findings(plain.stdout), findings(native.stdout)
    assert on_plain["pages"] == on_native["pages"] == "400"
    assert int(on_plain["links"]) == int(on_native["links"]) > 2000
    assert on_plain["loop"].startswith("asyncio.")
    assert on_native["loop"].startswith("sabio.")


def test_crawl_obeys_its_arguments(loop_name: str) -> None:
    """`--pages` and `--workers` arrive at the program, whoever launches it."""
    crawl = launch(loop_name, "crawl.py", "--pages", "30", "--workers", "2")
    assert (crawl.returncode, crawl.stderr) == (0, "")
    assert findings(crawl.stdout)["pages"] == "30"


def test_crawl_fails_if_a_page_is_missed(loop_name: str, tmp_path: Path) -> None:
    """A site that lies about one page makes the program exit with 1 and name the page."""
    program = tmp_path / "broken.py"
    source = (EXAMPLES / "crawl.py").read_text()
    broken = source.replace("if page >= self.size:", "if page >= self.size or page == 7:")
    assert broken != source
    program.write_text(broken)
    crawl = launch(loop_name, str(program), "--pages", "30")
    assert crawl.returncode == 1
    assert "/page/7" in crawl.stderr
    assert "incomplete" in crawl.stderr


@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="distributed is not there")
@pytest.mark.timeout(100)
@pytest.mark.usefixtures("sabio")
def test_cluster_gets_its_results_with_every_process_on_sabio() -> None:
    """The program knows what each job must give and fails if one process is on another kind of loop."""
    cluster = launch("sabio", "cluster.py", "--through", "sabio", warnings="default", timeout=90.0)
    assert cluster.returncode == 0, cluster.stderr
    kinds = re.findall(r"^(.+) runs on (.+)$", cluster.stdout, re.MULTILINE)
    names = ["client", "scheduler", "worker-0", "worker-1", "worker-2"]
    assert kinds == [(name, "sabio.Loop") for name in names]
    assert list(findings(cluster.stdout)) == [
        "map",
        "shuffle",
        "actors",
        "chain",
        "cancel",
        "executor",
        "loss",
    ]
