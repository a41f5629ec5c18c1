"""Values of Guiderail: immutable, without I/O, without a clock."""
