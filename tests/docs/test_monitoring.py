"""docs/monitoring: what its panels ask Prometheus for is on the metrics page of a real Triton after
one request.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections import defaultdict
from typing import Any

import pytest
import yaml

from serving.server import triton
from slipway.client import client
from slipway.contract.records import HOST
from tests.support.command import CHECKOUT
from tests.support.serving import tiny_repository

MONITORING = CHECKOUT / "docs" / "monitoring"
BOARD = json.loads((MONITORING / "grafana.json").read_text("utf-8"))
[SCRAPED] = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
QUERIES = [(panel["title"], target) for panel in BOARD["panels"] for target in panel["targets"]]
FUNCTIONS = {"sum", "min", "rate", "histogram_quantile"}
PROMETHEUS_OWN = {"up": {"job"}}  # made at each scrape
Page = dict[str, set[str]]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Name of each series on the page → its labels, after a text was classified."""
    run = tiny_repository.classifiers(tmp_path_factory.mktemp("monitored") / "run")
    with triton.running(run / "model_repository") as server, client.Client(f"http://{server.http}") as connected:
        connected.classify(["good"])
        address = f"http://{HOST}:{server.ports.metrics}{SCRAPED['metrics_path']}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            text = answer.read().decode()
    found = defaultdict(set, {name: set(labels) for name, labels in PROMETHEUS_OWN.items()})
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        found[name] |= set(re.findall(r'(\w+)="', labels))
    return dict(found)


def asked(query: str) -> tuple[Page, set[str]]:
    """The series of a query and the labels each is chosen by; and the labels it is summed over."""
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \((.*?)\)", query))))
    bare = re.sub(r"\bby \(.*?\)|\[.*?\]", "", query)
    series: Page = defaultdict(set)
    for name, chosen in re.findall(r"\b([a-z]\w*)(?:\{(.*?)\})?", bare):
        if name not in FUNCTIONS:
            series[name] |= set(re.findall(r"(\w+)=", chosen))
    return dict(series), grouped


@pytest.mark.parametrize(("title", "target"), QUERIES, ids=[f"{title}-{target['refId']}" for title, target in QUERIES])
def test_what_a_panel_asks_for_is_on_the_page(page: Page, title: str, target: dict[str, Any]) -> None:
    series, grouped = asked(target["expr"])
    assert series
    missing = {name: (labels | grouped) - page.get(name, set()) for name, labels in series.items() if name in page}
    assert set(series) - set(page) == set()
    assert not any(missing.values()), missing
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped


def test_every_figure_that_the_models_count_is_shown(page: Page) -> None:
    shown = {name for _, target in QUERIES for name in asked(target["expr"])[0]}
    counted = {name for name in page if name.startswith("slipway_")} - {"slipway_request_seconds_sum"}
    assert counted - shown == set()


def test_the_models_to_choose_from_are_read_off_a_series_that_is_there(page: Page) -> None:
    [query] = [one["definition"] for one in BOARD["templating"]["list"] if one["type"] == "query"]
    [(name, label)] = re.findall(r"label_values\((\w+), (\w+)\)", query)
    assert label in page[name]


def test_prometheus_is_pointed_at_the_page_of_make_serve() -> None:
    assert SCRAPED["static_configs"] == [{"targets": [f"{HOST}:{triton.Ports().metrics}"]}]
    jobs = {job for _, target in QUERIES for job in re.findall(r'job="(\w+)"', target["expr"])}
    assert jobs == {SCRAPED["job_name"]}


def test_no_two_panels_lie_on_each_other() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    cells = [(place["x"] + x, place["y"] + y) for place in places for x in range(place["w"]) for y in range(place["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24  # Grafana's columns
