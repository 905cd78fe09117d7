"""This host: programs, git, disks, clocks."""
