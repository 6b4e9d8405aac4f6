from __future__ import annotations

import pickle

from slipway.errors import ServerError


def test_an_error_is_the_same_in_another_process() -> None:
    error = ServerError("no answer", expected="one", found="none", where="there", fix="ask again")
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), other.found) == (ServerError, str(error), "none")
