"""Which files are a corpus, and which of them is which split, in the forms that are published.

Reads: the names of files and directories, and what `datasets` of Hugging Face wrote beside them.
Yields: a file for each split, or a refusal by what lies there, with the command that goes on.
"""
