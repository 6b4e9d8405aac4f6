"""Experiments behind the README's and the documents' figures; none is needed to run Slipway.

Reads finished runs; writes records/*.json, and the tables of both READMEs from them.
"""
