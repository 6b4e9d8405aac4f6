"""The runtimes of artifacts, each a file or pair with the four functions of `interface.Runtime`.

Reads the bundle or another artifact; writes model files, and opens them again.
"""
