"""Package files by nfpm: contents, relations, service files, maintainer scripts."""
