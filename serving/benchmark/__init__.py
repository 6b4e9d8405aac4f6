"""The benchmark: every model under every load in turn, with intervals, comparisons and a choice.

Reads a run's bundle/, artifacts/ and model_repository/.
Writes benchmark.json, and until that is there benchmark.partial.jsonl.
"""
