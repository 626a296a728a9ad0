"""How a guided build is made: which llvm-profdata is taken, and what is said when there is none or training fails."""

from __future__ import annotations

import stat
import sys
import zipfile

import pytest

from tests.support.scripts import imported

RUSTC = """#!/bin/sh
case "$*" in
    -vV) printf 'rustc 1.0\\nhost: here\\nLLVM version: 77.1.2\\n' ;;
    "--print sysroot") echo {} ;;
esac
"""
PROFDATA = """#!/bin/sh
test "$1" = --version && echo '  LLVM version {}.1.8'
exit 0
"""


@pytest.fixture(scope="module")
def guided():
    """The script."""
    with imported({"guided": "guided"}) as modules:
        yield modules.guided


def program(path, text):
    """Makes a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder that alone is on the PATH; its rustc is made with LLVM 77."""
    folder = tmp_path / "bin"
    program(folder / "rustc", RUSTC.format(tmp_path / "sysroot"))
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    return folder


@pytest.fixture
def no_pip(tmp_path):
    """An interpreter whose pip finds nothing."""
    return program(tmp_path / "python", "#!/bin/sh\necho 'no such package' >&2\nexit 1\n")


def test_tool_of_the_compilers_own_folder_goes_first(guided, tools, tmp_path, no_pip):
    own = program(tmp_path / "sysroot/lib/rustlib/here/bin/llvm-profdata", PROFDATA.format(77))
    program(tools / "llvm-profdata", PROFDATA.format(77))
    assert guided._find(no_pip, tmp_path / "fetched") == own


def test_tool_of_another_version_of_llvm_is_passed_over(guided, tools, tmp_path, no_pip):
    program(tmp_path / "sysroot/lib/rustlib/here/bin/llvm-profdata", PROFDATA.format(7))
    program(tools / "llvm-profdata", PROFDATA.format(76))
    fit = program(tools / "llvm-profdata-77", PROFDATA.format(77))
    assert guided._find(no_pip, tmp_path / "fetched") == fit


def test_no_tool_at_all_is_an_error_that_says_what_to_do(guided, tools, tmp_path, no_pip):
    with pytest.raises(guided.Impossible, match=r"LLVM 77.*rustup component add llvm-tools.*no such package"):
        guided.Guide(no_pip, tmp_path, tmp_path / "profile")


def test_tool_that_is_fetched_and_does_not_fit_is_not_taken(guided, tools, tmp_path):
    fetched = tmp_path / "target" / "llvm-profdata" / "llvm" / "bin" / "llvm-profdata"
    program(fetched, PROFDATA.format(22))
    pip = program(tmp_path / "python", "#!/bin/sh\nexit 0\n")
    with pytest.raises(guided.Impossible, match=r"no llvm-profdata of LLVM 77"):
        guided.Guide(pip, tmp_path / "target", tmp_path / "profile")
    program(fetched, PROFDATA.format(77))
    assert guided.Guide(pip, tmp_path / "target", tmp_path / "profile")._profdata == fetched


@pytest.fixture
def guide(guided, tools, tmp_path, no_pip):
    """A guide with a tool that does nothing, and the flags that it has built with."""
    program(tools / "llvm-profdata", PROFDATA.format(77))
    guide = guided.Guide(no_pip, tmp_path, tmp_path / "profiles" / "profile")
    guide.built = []

    def build(flags, kind):
        guide.built.append((kind, tuple(flags)))
        wheel = tmp_path / f"{kind}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("sabio/__init__.py", "raise SystemExit('this build is broken')")
        return wheel

    guide.build = build
    return guide


def test_training_that_fails_ends_in_an_error_with_what_it_said(guided, guide):
    with pytest.raises(guided.Impossible, match=r"training programs failed[\s\S]*this build is broken"):
        guide.wheel(guide.build, sys.executable)
    assert [kind for kind, _ in guide.built] == ["counting"]


def test_no_counts_are_an_error(guided, guide, tmp_path):
    with pytest.raises(guided.Impossible, match="no counts"):
        guide.wheel(guide.build, program(tmp_path / "idle", "#!/bin/sh\nexit 0\n"))


def test_second_build_is_by_the_counts_of_the_first(guide, tmp_path):
    counting = program(
        tmp_path / "counting",
        '#!/bin/sh\nmkdir counts\necho 1 > "$(echo "$LLVM_PROFILE_FILE" | sed s/%m/1/)"\n',
    )
    assert guide.wheel(guide.build, counting) == tmp_path / "guided.whl"
    (first, flags), (second, by) = guide.built
    assert (first, second) == ("counting", "guided")
    assert flags[0] == "-Cprofile-generate"
    assert by == (f"-Cprofile-use={tmp_path / 'profiles' / 'profile'}", "--cfg=guided")
