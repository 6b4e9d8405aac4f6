"""The pages as a site, built by `make docs`: this checkout's Markdown, with navigation by task.

Sphinx reads every page where it lies, so that a link is the one that a code host follows. A link
to what is no page becomes a download of that file. The site asks no other server for anything.

    .venv/bin/python -m sphinx -W --keep-going -c docs . site
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Page → what it leads to in the sidebar: by task, as `title <page>` or by that page's own title.
NAVIGATION = {
    "README": {
        "Start": ["Quick start <self>", "docs/troubleshooting"],
        "Get a model": [
            "My data <docs/data>",
            "docs/import",
            "docs/hugging_face",
            "docs/encoders",
            "docs/training",
            "On GPUs <docs/gpu>",
        ],
        "Serve it": [
            "Deploy and roll out <docs/serving>",
            "Configure <docs/configuration>",
            "Clients <docs/clients>",
            "Monitor <docs/monitoring/README>",
            "docs/bad_input",
            "docs/benchmarks",
            "docs/reliability",
        ],
        "Look it up": ["docs/commands", "docs/lint", "What the gate sees <docs/parity>", "docs/limits", "Platform <docs/platform>"],
        "The project": [
            "docs/architecture",
            "Records <benchmarks/README>",
            "docs/log/README",
            "CONTRIBUTING",
            "CHANGELOG",
        ],
    },
    "docs/serving": {"": ["The directory model_repository </model_repository/README>"]},
    "docs/bad_input": {"": ["Every wrong request </tests/serving/backend/bad_input/tables>"]},
    "docs/log/README": {"": ["serving", "measuring", "export", "training", "tree"]},
}

project = html_title = "Slipway"
root_doc = "README"
extensions = ["myst_parser"]
include_patterns = [
    "*.md",
    "docs/**.md",
    "benchmarks/README.md",
    "model_repository/README.md",
    "tests/serving/backend/bad_input/tables.md",
]
exclude_patterns = [".*", "runs", "site", "data", "**/__pycache__"]  # directories that are not even looked into
myst_heading_anchors = 4
smartquotes = False  # -- begins an option
suppress_warnings = ["myst.header"]  # tables.md begins at the third level, to be shown below another page's heading
html_theme = "furo"
html_static_path = html_css_files = ["site.css"]
html_copy_source = html_use_index = html_show_copyright = False


def setup(app: Any) -> None:
    app.connect("source-read", _add_navigation)
    app.connect("build-finished", _write_index)


def _add_navigation(_: Any, page: str, source: list[str]) -> None:
    for task, pages in NAVIGATION.get(page, {}).items():
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {task}" if task else "", *pages, "```", ""])


def _write_index(app: Any, _: Exception | None) -> None:
    """What a web server shows for the directory."""
    text = (
        f'<!doctype html><meta charset="utf-8"><title>{project}</title><meta http-equiv="refresh" content="0; url={root_doc}.html">'
    )
    (Path(app.outdir) / "index.html").write_text(f'{text}<a href="{root_doc}.html">{project}</a>\n', "utf-8")
