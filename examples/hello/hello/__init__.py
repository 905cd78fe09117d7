"""A web app that says hello, and which version of it says so."""
