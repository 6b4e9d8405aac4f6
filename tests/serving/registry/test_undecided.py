"""Too few golden rows is another refusal than other answers, with another exit code and way out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving import served_parity
from serving.registry import canary
from serving.registry.registry import Registry
from slipway import errors
from slipway.contract.parity import judgement
from slipway.contract.parity.judgement import Failure
from slipway.errors import ParityError

UNDECIDED = Failure("upper bound on the flip rate", 0.011, 0.01, shown=False, rows=940)
WORSE = Failure("flip rate", 0.5, 0.01)


def check(*failures: Failure) -> Any:
    verdict = judgement.verdict(list(failures))
    return SimpleNamespace(
        model="text_classifier", protocol="http", verdict=verdict, passed=not failures, failures=failures, wrong_answers=[]
    )


def refusal(*checks: Any) -> ParityError:
    with pytest.raises(ParityError) as raised:
        canary.refuse_other_answers(checks, Registry(Path("model_repository")), "publish it again")
    return raised.value


def test_what_is_not_decided_is_refused_with_the_rows_that_would_decide() -> None:
    error = refusal(check(UNDECIDED))
    assert error.exit_code == errors.NOT_DECIDED
    assert "about 940 rows would" in error.found
    assert "--unlabelled" in error.fix


def test_what_is_worse_is_named_before_what_is_not_decided() -> None:
    assert "does not give its reference's answers" in refusal(check(UNDECIDED), check(WORSE)).summary


@pytest.mark.parametrize(
    ("checks", "status"),
    [([check()], 0), ([check(), check(UNDECIDED)], errors.NOT_DECIDED), ([check(UNDECIDED), check(WORSE)], 1)],
)
def test_verify_ends_with_the_status_of_its_worst_verdict(checks: list[Any], status: int) -> None:
    assert served_parity.exit_status(checks) == status
