"""Weftwork measured beside its peers, on the same work in the same run. See ``docs/performance.md``."""
