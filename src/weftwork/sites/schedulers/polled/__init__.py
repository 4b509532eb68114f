"""Batch systems that are told by commands and asked again and again: :class:`Polled` over a dialect and a shell."""
