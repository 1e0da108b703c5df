"""Drivers with modelkit's classes: the built-in ones are thin over the stores, and a user's own plug in beside them."""
