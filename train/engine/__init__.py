"""The work of one rank: steps over all ranks, checkpoints, evaluation.

Reads: job.json, ranks.json and corpus.jsonl of the job, and a checkpoint to go on from.
Writes: progress, logits and SavedModel in the job's directory; checkpoints beside the bundle.
"""
