"""How training uses a machine: its speed, its operations, its learning rate.

Reads: the corpus and the options of training.
Writes: training_speed.json, profile.json or learning_rate.json of the run.
"""
