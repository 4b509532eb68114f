"""What wraps a command: one file for each runtime, each a pure builder of words beside what gets images to where it starts them."""
