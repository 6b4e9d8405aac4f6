"""The model itself, as the pages show it: its training, its answers, how to ask it, its card.

Reads the bundle's records and golden rows; neither a benchmark nor a server has to be there.
"""
