"""The Python models that Triton runs, copied file by file into version directories.

Reads, in a version directory, settings.json, the vocabulary, the labels, the engine.
Writes the answers, lines of the log, and counters on Triton's metrics page.
"""
