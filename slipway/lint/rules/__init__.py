"""The rules, by what they look at; each yields findings on one model.

Reads: a ModelDirectory, of ensembles the whole repository's. Writes: nothing.
"""
