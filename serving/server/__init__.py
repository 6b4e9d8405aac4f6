"""The embedded Triton: started, watched, and stopped with nothing left behind.

Reads a sealed model repository.
Writes the server's log, and serving.json while it runs: its addresses, and the key for its owner.
"""
