"""How a process starts at a place: one small file each."""
