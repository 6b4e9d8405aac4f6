"""Make one self-contained HTML page out of a template, figures and facts.

Its script, its styles and its figures are inside the page; nothing is loaded from elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup

from serving.report import benchmark_text
from slipway.contract import manifest

_SETTINGS = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def render_page(template: str, figures: dict[str, go.Figure], **facts: Any) -> str:
    """Return a template's HTML; `plots` has each figure as HTML by its name, "" without data."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": benchmark_text.percent, "three_digits": benchmark_text.three_digits, "count": "{:,d}".format}
    plain = {"full_html": False, "include_plotlyjs": False, "config": _SETTINGS}
    html = {name: figure.to_html(div_id=name, **plain) if figure.data else "" for name, figure in figures.items()}
    drawn = {name: Markup(plot) for name, plot in html.items()}  # noqa: S704 (Plotly's own output)
    library = Markup(plotly.offline.get_plotlyjs())  # noqa: S704
    return environment.get_template(template).render(**facts, plots=drawn, plotly=library)


def write_page(path: Path, html: str) -> None:
    """Replace `path` in one step, so that a reader never sees half a page."""
    manifest.write_text(path, html)
