"""The linter of Triton model repositories, without a server.

Reads: config.pbtxt, version directories, labels, warm-up data, signatures of model files.
Writes: findings on the output.
"""
