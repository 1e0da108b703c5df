"""The programs ``asset`` and ``holdfast``: one module per group of commands, loaded when the command is called."""
