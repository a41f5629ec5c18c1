"""The ``guiderail`` command."""
