"""What the labels of a corpus' rows are: names and numbers of classes, and never what is none.

Reads: rows as the files have them, and the classes.txt beside files of class numbers.
Yields: rows with their labels' names, bad rows, and refusals with the option that reads the labels.
"""
