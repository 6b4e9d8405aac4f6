"""One self-contained HTML page out of a template, figures and facts: no script, style, font or picture comes from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.offline
from markupsafe import Markup

from serving import speed_section

_SETTINGS = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def render(template: str, figures: dict[str, go.Figure], **facts: Any) -> str:
    """The page. `figures` by the id each gets on it: `plots` in the template, where one without data is empty."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "percent": lambda share, digits=1: f"{100 * share:.{digits}f}\u00a0%",
        "short": speed_section.short,
        "count": "{:,d}".format,
    }
    drawn = {name: _embed(name, one) if one.data else Markup() for name, one in figures.items()}
    library = Markup(plotly.offline.get_plotlyjs())  # noqa: S704
    return environment.get_template(template).render(**facts, plots=drawn, plotly=library)


def _embed(name: str, figure: go.Figure) -> Markup:
    html = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=_SETTINGS)
    return Markup(html)  # noqa: S704 (Plotly's own output)


def write(path: Path, html: str) -> None:
    """In place of what was there, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(html, "utf-8")
    beside.replace(path)
