"""The compiler of model repositories: the embedded Triton's, and NVIDIA's container's.

Reads bundle/, and the artifacts whose parity verdict holds for exactly their hash.
Writes model_repository/ or model_repository_ngc/, linted and sealed.
"""
