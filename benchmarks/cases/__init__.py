"""Gives Slipway the models, data, repositories and calls of a directory of cases, and judges them.

Reads: a directory of small cases drawn from public reports; for calls, a run to serve.
Writes: a table on the output; a case without its good answer makes the exit status 1.
"""
