"""How bytes travel between the home and the nodes of a site."""
