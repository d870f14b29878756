"""HTML pages from the templates beside this module.

A page is one file with everything inside it; its policy forbids the browser to load anything.
The templates escape every text that is put in.
"""

from collections.abc import Mapping
from typing import Any

from audiolm_jax.evaluation.page.palette import PALETTES
from audiolm_jax.evaluation.page.tables import number


def render_page(title: str, summary: str, sections: Mapping[str, str], **content: Any) -> str:
    """The whole page as text; equal content gives equal text.

    Args:
      title: heading of the page.
      summary: one or two sentences under it.
      sections: heading by key. The key is the section's anchor and names its template.
      content: what the templates of the sections show.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__.rpartition(".")[0]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    return environment.get_template("page.html.j2").render(
        title=title, summary=summary, sections=sections, palettes=PALETTES, **content
    )
