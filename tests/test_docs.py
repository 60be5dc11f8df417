"""The pages of docs: their examples run as they stand, and their links lead somewhere."""

import doctest
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from jitprop import cli
from jitprop.tables import MISSING
from jitprop.targets import FEW
from jitprop_kernels.jit import compiling

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page for page in DOCS.rglob("*.md") if not {"lessons", "_build"} & set(page.relative_to(DOCS).parts)
)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
# External addresses need a network to be checked: `make docs-links` asks them. Here they are only listed.
EXTERNAL = {"https://asv.readthedocs.io", "https://huggingface.co/docs/safetensors/index#format"}


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """A page that sets the number of threads must not set it for the tests that follow."""
    before = compiling._chosen, compiling.numba.get_num_threads()
    yield
    compiling._chosen = before[0]
    compiling.numba.set_num_threads(before[1])


def examples(page: Path) -> str:
    """The Python blocks of a page, every other line left empty, so that a failure names the line of the page."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```python" and not inside
            line = ""
        lines.append(line if inside else "")
    assert not inside, f"{page}: a block is not closed"
    return "\n".join([*lines, ""])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_examples(page: Path):
    parsed = doctest.DocTestParser().get_doctest(examples(page), {"__name__": "page"}, page.name, str(page), 0)
    blocks = page.read_text(encoding="utf-8").count("\n```python\n")
    assert (len(parsed.examples) > 0) == (blocks > 0)
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(parsed, out=report.append)
    assert results.failed == 0, "".join(report)


def test_there_are_examples_on_the_pages_that_promise_them():
    pages = [DOCS / "start.md", *(DOCS / "guide" / f"{name}.md" for name in ("data", "network", "training", "files"))]
    assert all("\n```python\n" in page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_commands_are_understood(page: Path):
    lines = page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("$ jitprop ") and not set(line.split()) & {"--help", "COMMAND"}:
            cli.build_parser().parse_args(shlex.split(line, comments=True)[2:])


def test_the_page_of_the_command_line_says_what_is_often_needed():
    page = (DOCS / "guide" / "commandline.md").read_text(encoding="utf-8")
    for option in ("--drop", "--early-stopping", "--unknown", "--impute", "--categorical"):
        assert f"`{option}" in page


def test_what_the_first_page_installs_is_enough_for_what_it_runs():
    lines = (DOCS / "start.md").read_text(encoding="utf-8").splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    assert commands[:4] == ["python3 -m venv .venv", ". .venv/bin/activate", "pip install '.[all]'", "jitprop demo"]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path):
    for target in LINK.findall(re.sub(r"`[^`\n]*`|\$[^$]*\$", "", page.read_text(encoding="utf-8"))):
        if "://" in target:
            assert target in EXTERNAL, f"{page.name}: list {target} in EXTERNAL once it was looked at"
        elif not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).is_file(), f"{page.name} links to {target}"


@pytest.mark.parametrize("drawing", sorted(DOCS.rglob("drawings/*.svg")), ids=lambda drawing: drawing.stem)
def test_drawings_are_well_formed_and_used(drawing: Path):
    root = ElementTree.parse(drawing).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.find("{http://www.w3.org/2000/svg}title") is not None
    assert any(f"({drawing.relative_to(DOCS).as_posix()})" in page.read_text(encoding="utf-8") for page in PAGES)


def test_the_page_says_what_is_missing_and_how_many_numbers_are_classes(capsys):
    page = (DOCS / "guide" / "commandline.md").read_text(encoding="utf-8")
    assert [word for word in MISSING - {""} if f"`{word}`" not in page] == []
    assert f"at most {FEW} different whole numbers" in page
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    assert f"at most {FEW} different whole numbers" in " ".join(capsys.readouterr().out.split())
