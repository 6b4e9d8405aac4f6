"""From a corpus to batches: rows checked and split, their ids, who trains on which in each step.

Reads: AG News or a person's own files, then the job's corpus.jsonl.
Writes: the job's corpus.jsonl, and AG News where it had to be fetched.
"""
