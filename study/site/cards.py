"""A Sphinx extension: what the glossary says of a name, on a card, wherever a table or a page names it."""

from __future__ import annotations

import re
from functools import cache

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

GLOSSARY = "book/glossary"
_MARKS = re.compile(r"[†‡\s]+$")  # which a table sets after a name


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make each cell of a table that is a term of the glossary a link to it; each such link has the term's sentence.

    That is the cells of the first column and of the header; what follows a name after a comma, or as a mark, is no part
    of it.
    """
    if app.builder.name != "html":  # all on one page, to be printed
        return
    terms = _terms(app.env)
    if docname != GLOSSARY:
        for cell in _names(doctree):
            said = "".join(text for text in cell.findall(nodes.Text) if not isinstance(text.parent, nodes.raw))
            words = _MARKS.sub("", said.partition("\n")[0].partition(",")[0])
            if words in terms and (paragraph := next(cell.findall(nodes.paragraph), None)):
                place = app.builder.get_relative_uri(docname, GLOSSARY)
                reference = nodes.reference("", "", internal=True, refuri=f"{place}#{terms[words][0]}")
                reference += paragraph.children
                paragraph.children = []
                paragraph += reference
    sentences = dict(terms.values())
    for reference in doctree.findall(nodes.reference):
        if (anchor := reference.get("refuri", "").partition("#")[2]) in sentences:
            reference["reftitle"] = sentences[anchor]
            reference["classes"].append("term")


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """All pages, where the glossary has changed."""
    return list(env.all_docs) if GLOSSARY in added | changed else []


def _names(doctree: nodes.document):
    """The cells that name a row or a column."""
    for head in doctree.findall(nodes.thead):
        yield from head.findall(nodes.entry)
    for body in doctree.findall(nodes.tbody):
        for row in body.findall(nodes.row):
            yield row.children[0]


@cache
def _terms(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """The glossary: term -> its anchor and its sentence; empty where the book has none."""
    if GLOSSARY not in env.all_docs:
        return {}
    found = {}
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        sentence = next(item.findall(nodes.definition)).astext()
        for term in item.findall(nodes.term):
            text = "".join(part.astext() for part in term.children if not isinstance(part, addnodes.index))
            found[text.strip()] = (term["ids"][0], " ".join(sentence.split()))
    return found


def setup(app: Sphinx) -> dict:
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-resolved", link)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
