"""The tests of kooler; each folder mirrors a room."""
