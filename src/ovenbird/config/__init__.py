"""What people write: the app's manifest and the operator's settings."""
