"""The pages: one run, or two side by side. Nothing is measured or judged here.

Reads every record of a run, each refused unless it belongs to the run's present state.
Writes report.html or compare.html, with all they need inside.
"""
