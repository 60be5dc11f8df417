"""The pages of docs: their examples run as they stand, and their links lead somewhere."""

import doctest
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

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
