"""Training: its accuracy over seeds, its speed, and what each option brings.

Reads a corpus and an encoder; writes records/training_*.json and records/scaling.json.
"""
