"""The gate: an artifact's answers on the golden rows against the SavedModel's.

Reads bundle/ and artifacts/<variant>/; writes parity.json beside the model, passed or not.
"""
