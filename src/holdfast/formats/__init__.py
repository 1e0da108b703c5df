"""Bytes to values and back; pure. FORMAT.md is the specification; a reader accepts every version ever released."""
