"""Variants and the fused graph: on real lengths, beside PyTorch's export, and of a large model.

Reads a run's bundle and artifacts; writes records/{variant_speed,fused_latency,large_model}.json.
"""
