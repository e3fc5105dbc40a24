"""A small web server, to see Perigee run something."""
