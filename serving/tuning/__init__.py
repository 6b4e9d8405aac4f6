"""The tuner: the cheapest engine, processes and threads that hold an SLO on this machine.

Reads a run's bundle/ and artifacts/.
Writes tuning.json, with the command that builds the choice.
"""
