"""The registry of published versions: publish, canary, rollout, rollback.

Reads the repository of a run, and what it was compiled from: bundle and artifacts that passed.
Writes model_repository/ of the checkout, and runs/published/: audit, lock, golden rows, canary.
"""
