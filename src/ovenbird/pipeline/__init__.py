"""Durable order: the workflows, and the only importer of DBOS."""
