"""Packages, unit files, signed repositories."""
