"""Keys, and signatures of packages."""
