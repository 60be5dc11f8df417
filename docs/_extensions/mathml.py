"""Formulas as MathML, which browsers draw by themselves: no script, no fonts, no network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

# Commands of LaTeX that docutils does not know, and what it calls them.
_ALIASES = {r"\dots": r"\ldots", r"\dotsc": r"\ldots", r"\dotsb": r"\cdots", r"\lVert": r"\Vert", r"\rVert": r"\Vert"}
_ALIAS = re.compile("|".join(rf"{re.escape(name)}(?![a-zA-Z])" for name in _ALIASES))
# What docutils would read otherwise than LaTeX: 12 after a fraction is not twelve, and functions keep their distance.
_REWRITTEN = (
    (re.compile(r":="), r"\\coloneq "),
    (re.compile(r"\\frac(\d)(\w)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\(log|operatorname\{\w+\})\s+(?!\\left)(?=[a-zA-Z\\])"), r"\\\1\\, "),
    (re.compile(r"(?<=[a-z0-9})])\s+(?=\\(?:log|operatorname)\b)"), r"\\, "),
)


def _mathml(node: nodes.Node, block: bool) -> str:
    tex = _ALIAS.sub(lambda match: _ALIASES[match[0]], node.astext())
    for pattern, replacement in _REWRITTEN:
        tex = pattern.sub(replacement, tex)
    try:
        return tex2mathml(tex, as_block=block)
    except (MathError, SyntaxError) as error:
        logger.warning("formula %r: %s", tex, error, location=node)
        return ""


def _inline(translator, node):
    translator.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def _block(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math-block"))
    translator.body.append(_mathml(node, block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
