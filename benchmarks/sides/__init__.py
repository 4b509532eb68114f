"""One file a system: how it does the work of each row. Each measurement is a process of its own.

``python -m benchmarks.sides.NAME PHASE N FOLDER VARIANT OUT`` does one phase of a row and writes a sample.
"""
