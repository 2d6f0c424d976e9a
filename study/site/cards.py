"""A Sphinx extension: a card with the glossary's sentence on a term, wherever a table or a page names the term."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

GLOSSARY = "book/glossary"
_MARKS = re.compile(r"[†‡\s]+$")  # which a table sets after a name


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link the glossary's terms in tables' headers and first columns to it, and give every such link its sentence.

    What follows a name after a comma, and a mark after it, is ignored.
    """
    if app.builder.name != "html":  # all on one page, to be printed
        return
    terms = _terms(app.env)
    for cell in _naming_cells(doctree) if docname != GLOSSARY else ():
        text = "".join(part for part in cell.findall(nodes.Text) if not isinstance(part.parent, nodes.raw))
        name = _MARKS.sub("", text.partition("\n")[0].partition(",")[0])
        if name in terms and (paragraph := next(cell.findall(nodes.paragraph), None)):
            page = app.builder.get_relative_uri(docname, GLOSSARY)
            reference = nodes.reference("", "", internal=True, refuri=f"{page}#{terms[name][0]}")
            reference += paragraph.children
            paragraph.children = []
            paragraph += reference
    sentences = dict(terms.values())
    for reference in doctree.findall(nodes.reference):
        if (anchor := reference.get("refuri", "").partition("#")[2]) in sentences:
            reference["reftitle"] = sentences[anchor]
            reference["classes"].append("term")


def outdated_pages(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set) -> list[str]:
    """All pages, where the glossary has changed."""
    return list(env.all_docs) if GLOSSARY in added | changed else []


def _naming_cells(doctree: nodes.document) -> Iterator[nodes.Element]:
    yield from chain.from_iterable(head.findall(nodes.entry) for head in doctree.findall(nodes.thead))
    for body in doctree.findall(nodes.tbody):
        yield from (row.children[0] for row in body.findall(nodes.row))


@cache
def _terms(env: BuildEnvironment) -> dict[str, tuple[str, str]]:
    """The glossary's terms, each with its anchor and its sentence; empty where the book has no glossary."""
    if GLOSSARY not in env.all_docs:
        return {}
    terms = {}
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        sentence = next(item.findall(nodes.definition)).astext()
        for term in item.findall(nodes.term):
            text = "".join(part.astext() for part in term.children if not isinstance(part, addnodes.index))
            terms[text.strip()] = (term["ids"][0], " ".join(sentence.split()))
    return terms


def setup(app: Sphinx) -> dict:
    app.connect("env-get-outdated", outdated_pages)
    app.connect("doctree-resolved", link_terms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
