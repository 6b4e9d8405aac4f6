from __future__ import annotations

from serving.server import triton

_GIVEN_TO_CONNECTIONS = 32_768  # from here on, unless Linux is told otherwise


def test_free_ports_are_three_in_a_row_that_no_connection_is_given() -> None:
    found = triton.free_ports()
    assert (found.grpc, found.metrics) == (found.http + 1, found.http + 2)
    assert 1024 < found.http < found.metrics < _GIVEN_TO_CONNECTIONS
