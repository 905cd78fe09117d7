"""What is wrong with package files."""
