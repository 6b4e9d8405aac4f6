"""Set-up: what pip cannot install, and the locks.

Reads: requirements/*.txt.
Writes: .venv/ and .tools/ of the checkout.
"""
