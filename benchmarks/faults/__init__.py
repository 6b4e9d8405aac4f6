"""Faults planted on purpose into finished runs: is each refused, and does what is said name it?

Reads a finished run, which stays as it is: faults go into copies. `measure` writes
benchmarks/records/faults.json; the tests plant the same faults into a tiny run.
"""
