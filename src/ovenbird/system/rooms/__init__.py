"""Rooms: base images opened to be changed, here or on a builder, and what is done in them."""
