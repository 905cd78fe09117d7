"""Signed repositories for apt and yum in one storage."""
