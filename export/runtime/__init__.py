"""The runtimes, each a file or pair with the four functions of `export.runtimes.Runtime`.

Reads the bundle or another artifact; writes model files, and opens them again.
"""
