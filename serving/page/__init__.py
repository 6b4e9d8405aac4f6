"""The page to try a model, beside the server that `slipway serve RUN --page` runs.

Reads a run's bundle/, and the answers of its server on loopback.
Writes nothing: neither a text nor an answer is kept or logged.
"""
