"""Graphs of a Bert in ONNX, written from the weights that are read out of a SavedModel.

Reads SavedModels and ONNX files; writes ONNX files.
"""
