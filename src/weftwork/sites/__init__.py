"""Floor 4: places to compute. A site is a scheduler, a runtime and a staging; adapters know nothing of each other."""
