"""Documents that people write, to and from the values of the core: pure, references unresolved."""
