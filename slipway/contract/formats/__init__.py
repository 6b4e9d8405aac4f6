"""The formats of labelled files, each told by what it holds: tables, JSON, words with tags.

Reads: a person's own file as it was published or exported, plain or gzipped.
Yields: rows, and bad rows that say what breaks a rule, on which line, and which option reads it.
"""
