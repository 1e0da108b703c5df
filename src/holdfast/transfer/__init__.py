"""Moving bytes between a store and this machine: what to move is decided in ``plan``, moved by ``engine``."""
