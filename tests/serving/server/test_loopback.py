from __future__ import annotations

from serving.server import triton

_GIVEN_TO_CONNECTIONS = 32_768  # from here on, unless Linux is told otherwise


def test_free_ports_are_three_in_a_row_that_no_connection_is_given() -> None:
    ports = triton.free_ports()
    assert (ports.grpc, ports.metrics) == (ports.http + 1, ports.http + 2)
    assert 1024 < ports.http < ports.metrics < _GIVEN_TO_CONNECTIONS
