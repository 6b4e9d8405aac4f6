"""Slipway beside what a user would pick instead: PyTriton, FastAPI, TensorFlow.

Reads a run's bundle, artifacts and repository; writes records/peers.json.
"""
