"""The records as a page shows them: without this machine's paths, with plain names; and what they
say of how the model is to be run.

Reads and returns the dataclasses of serving/report/records.py; writes nothing.
"""
