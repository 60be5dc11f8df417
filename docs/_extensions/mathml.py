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
_FUNCTION = r"\\(?:log|tanh|sinh|cosh|operatorname\{\w+\})"
# What docutils would read otherwise than LaTeX: 12 after a fraction is not twelve, functions keep their distance,
# and bars are a pair.
_REWRITTEN = (
    (re.compile(r":="), r"\\coloneq "),
    (re.compile(r"\\frac(\d)(\w)"), r"\\frac{\1}{\2}"),
    (re.compile(rf"({_FUNCTION}(?:[_^]\d)?)\s+(?!\\left)(?=[a-zA-Z0-9\\])"), r"\1\\, "),
    (re.compile(rf"(?<=[a-z0-9}})])\s+(?={_FUNCTION})"), r"\\, "),
    (re.compile(r"\\lvert\b"), r"\\left|"),
    (re.compile(r"\\rvert\b"), r"\\right|"),
)
# What browsers would set apart: the two sides of a stroke, a prime, the bars of a norm (and stretch one of them), the
# largest of some numbers, and a minus that belongs to one.
_TIGHT = (
    (re.compile(r"<mo[^>]*>([/'\u2016])</mo>"), r'<mo lspace="0" rspace="0" stretchy="false">\1</mo>'),
    (re.compile(r"<mo>(max|min)</mo>"), r"<mi>\1</mi>"),
    (re.compile(r"(<mo[^>]*>[,(=]</mo>\s*)<mo>\u2212</mo>"), '\\1<mo form="prefix">\u2212</mo>'),
)
_PUNCTUATION = re.compile(r"[,.;:?!)]")


def _mathml(node: nodes.Node, block: bool) -> str:
    tex = _ALIAS.sub(lambda match: _ALIASES[match[0]], node.astext())
    for pattern, replacement in _REWRITTEN:
        tex = pattern.sub(replacement, tex)
    try:
        mathml = tex2mathml(tex, as_block=block)
    except (MathError, SyntaxError) as error:
        logger.warning("formula %r: %s", tex, error, location=node)
        return ""
    for pattern, replacement in _TIGHT:
        mathml = pattern.sub(replacement, mathml)
    return mathml


def _inline(translator, node):
    translator.body.append(_mathml(node, block=False))
    following = node.next_node(descend=False, siblings=True)
    if isinstance(following, nodes.Text) and _PUNCTUATION.match(following.astext()):
        translator.body.append("&#8288;")  # a word joiner: no line begins with a comma
    raise nodes.SkipNode


def _block(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="math-block"))
    translator.body.append(_mathml(node, block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
