"""The contract between stages: bundle, artifact, records, labelled rows; how answers are judged.

Reads: what a stage wrote, its hashes checked.
Writes: manifests, and directories that are whole or not there.
"""
