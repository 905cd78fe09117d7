"""Ovenbird: from a commit to a canary to a rollback, on machine images that never change."""
