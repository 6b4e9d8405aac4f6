import time

import pytest

from tests.journeys.resilience.conftest import Crowd, Served
from tests.support.experiments import Experiment


@pytest.mark.experiment("bad-input fuzz")
def test_x(served: Served, innocents: Crowd, experiment: Experiment) -> None:
    with innocents() as crowd:
        time.sleep(2)
    crowd.measure(experiment, slowest=5)
