"""How good answers are, held against labels: by row, by word, by entity.

Reads: logits and the labels that are right.
Writes: nothing; the metrics are part of bundle.json.
"""
