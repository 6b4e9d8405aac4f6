"""Import a SavedModel of a BERT from elsewhere, with its vocabulary, labels and labelled rows.

Reads these files; writes the run's bundle/ as training would.
"""
