"""Where commands are run: this host, or one that is reached over ssh."""
