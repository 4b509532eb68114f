"""Describe a scientific calculation once. Run it anywhere, never twice. Share it live."""
