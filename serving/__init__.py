"""Serving: artifacts that passed → a Triton repository, a server of it, and measurements of both.

Reads a run's bundle/ and artifacts/; `slipway build`, `serve`, `verify` and the others begin here.
Writes a run's model_repository/, records and pages, and the registry model_repository/.
"""
