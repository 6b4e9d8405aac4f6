"""Converts a bundle into every variant this machine can make, and proves that answers stayed.

Reads bundle/ of a run, or somebody's SavedModel; writes bundle/, artifacts/ and their verdicts.
"""
