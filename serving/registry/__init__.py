"""The registry of published versions: publish, canary, rollout, rollback.

Reads the repository of a run, and the proof that its very files passed parity.
Writes model_repository/ of the checkout, and runs/published/: the audit, the lock, the canary.
"""
