"""Settings of Sphinx for the documentation; `tools.site.build` makes the sources it works on."""

import re

from sphinx.ext.napoleon import Config, GoogleDocstring

import audiolm_jax
from tools.site.reference import comment_of

project = "audiolm_jax"
author = "the authors of audiolm_jax"
release = version = audiolm_jax.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**"]
exclude_patterns = ["docs/notebooks/**"]
nitpicky = False  # of names of other packages in signatures
default_role = "code"  # docstrings name code as Markdown does
myst_heading_anchors = 4
myst_all_links_external = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
html_theme = "furo"
html_title = "audiolm_jax"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}


def _contents(text: str) -> str:
    """The tables of docs/README.md once more, as the contents that the site's margin shows."""
    parts = []
    for section in text.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        pages = re.findall(r"^\| \[[^]]*\]\(([^)#]*)\.md\)", body, re.MULTILINE)
        if title.startswith("Reference"):
            pages += GENERATED
        parts.append((title.partition(":")[0], pages))
    parts.append(("The project", ["../README", "../CONTRIBUTING", "../CHANGELOG"]))
    return "".join(
        "\n```{toctree}\n:hidden:\n:caption: " + title + "\n\n" + "\n".join(pages) + "\n```\n"
        for title, pages in parts
        if pages
    )


GENERATED = [
    f"reference/{name}"
    for name in (
        "python",
        "verbs",
        *("config_train", "config_tokenize", "config_evaluate", "config_parts"),
    )
]


_GOOGLE = Config(napoleon_use_rtype=False, napoleon_use_param=False)


def setup(app):
    """Sphinx calls it."""

    def read(app, name, source):
        if name == root_doc:
            source[0] += _contents(source[0])

    def docstring(app, what, name, value, options, lines):
        if what != "attribute":  # whose text is a sentence, however many colons it has
            lines[:] = GoogleDocstring(lines, _GOOGLE, app, what, name, value, options).lines()
        elif not any(lines) or lines[0].startswith("Alias for field number"):
            lines[:] = [comment_of(name)]

    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring)
