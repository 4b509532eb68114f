"""Floor 4: modules and workflows by reference: a file, a function in a file or package, a function object."""
