"""Canary statistics, pure."""
