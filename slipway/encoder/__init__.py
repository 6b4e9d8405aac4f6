"""The encoder: BERT in Keras layers, which training fine-tunes, and which other libraries' weights
are put into.
"""
