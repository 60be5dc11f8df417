"""Sphinx configuration. `make docs` builds the site into docs/_build/html, without a network connection.

JITPROP_DOCS_EXECUTE=off leaves the lessons without their results, for a quick look at the other pages.
"""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_extensions"))

# Lessons run in a bare profile: without what this account loads into IPython, without notices about the transport.
# What a cell prints is sent when the cell ends: where it is sent in pieces, the pieces become lines.
PROFILE = HERE / "_build/ipython/profile_default"
PROFILE.mkdir(parents=True, exist_ok=True)
(PROFILE / "ipython_kernel_config.py").write_text(
    "import ipykernel.iostream\n"
    "ipykernel.iostream.OutStream.flush_interval = 3600\n"
    "c = get_config()\n"
    "c.IPKernelApp.log_level = 40\n"
)
os.environ["IPYTHONDIR"] = str(PROFILE.parent)

project = "jitprop"
author = "the jitprop authors"
project_copyright = author
version = release = re.search(
    r'^__version__ = "(.+)"$', (HERE.parent / "src/jitprop/__init__.py").read_text(), re.MULTILINE
)[1]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc", "myst_nb", "mathml"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "code"  # in docstrings `name` is a name, not a title
# Base classes that are not part of the public API, and types that only signatures name.
nitpick_ignore_regex = [("py:.*", r"(jitprop|jitprop_kernels|numpy|collections|os)\..*"), ("py:class", r"[a-zA-Z_ ]+")]

autodoc_typehints = "none"  # the docstrings say them, in words
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = os.environ.get("JITPROP_DOCS_EXECUTE", "cache")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

html_theme = "pydata_sphinx_theme"
html_title = "jitprop"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {name: [] for name in ("start", "mathematics", "kernels", "performance", "contributing")}
html_theme_options = {
    "logo": {"text": "jitprop"},
    "navigation_with_keys": False,
    "navigation_depth": 2,
    "header_links_before_dropdown": 9,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}

linkcheck_timeout = 20
linkcheck_anchors = False


def _escape_bars(app, what, name, obj, options, lines):
    """In a docstring |x| is an absolute value; to reStructuredText it would be a substitution."""
    for i, line in enumerate(lines):
        parts = line.split("`")
        lines[i] = "`".join(part.replace("|", r"\|") if k % 2 == 0 else part for k, part in enumerate(parts))


def setup(app):
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)  # after numpydoc
