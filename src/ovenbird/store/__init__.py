"""Our own records: catalog, releases, events."""
