"""Training: a corpus and a TF Hub encoder become a bundle, on any number of Horovod ranks.

Reads: the corpus, the encoder, and the checkpoints of an interrupted run.
Writes: RUN/bundle, RUN/train.json, RUN/checkpoints and RUN/tensorboard.
"""
