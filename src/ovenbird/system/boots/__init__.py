"""Boots: images started once, in containers or by QEMU, to see whether they serve."""
