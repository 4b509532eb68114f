"""Floor 4. What a home holds as a whole: what is in use or pinned, what can be made again, what is damaged."""
