"""Disks and what is on them: partitions, file systems, clones, changes, the cache of disks."""
