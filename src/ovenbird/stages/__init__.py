"""One trunk for each part of the way from a commit to traffic."""
