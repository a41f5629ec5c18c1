"""Readers of the files that a monitoring run leaves: bytes in, typed values out, no I/O."""
