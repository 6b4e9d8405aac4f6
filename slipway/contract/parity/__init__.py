"""What a conversion does to answers: measured, bounded, judged. Pure functions of arrays.

Reads logits of golden rows and of probe rows, and the limits of `slipway/contract/variants.py`.
Offline parity, served parity and the registry come through here, with the same limits.
"""
