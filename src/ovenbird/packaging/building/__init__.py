"""What builds run, and what an app's repository shows of it."""
