"""Refusal of models that reach outside of their own directory or run code, before they are loaded.

Reads SavedModels and ONNX files as protobufs; no model is loaded, run or optimized. The guarantees
of `slipway.contract.manifest` (hashes, no links) are checked first by whoever loads a bundle or an
artifact; this is about what a correctly sealed file may hold. Writes nothing.
"""
