"""What is inside package files."""
