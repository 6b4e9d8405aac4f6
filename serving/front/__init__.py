"""What stands before Triton: HAProxy, which bounds what is asked of it at a time.

Triton takes every request. Above its capacity all of them wait, until each is answered after its
client has given up. The front lets through what keeps the engines busy, and refuses the rest at
once.
"""
