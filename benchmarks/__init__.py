"""One script a question; each prints its figures, and a ratio where there is a peer."""
