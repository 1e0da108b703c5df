"""The routes of the server, one module a subject; each is thin over what does the work."""
