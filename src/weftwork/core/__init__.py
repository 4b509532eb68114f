"""Floor 1: pure values and rules. Standard library only; no input or output, no clock."""
