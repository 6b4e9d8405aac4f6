"""FP16, with what overflows kept in FP32, and INT8 that does not saturate.

Reads an FP32 ONNX file, for FP16 and for repairs also golden rows; writes an ONNX file.
"""
