"""Use cases: they take ports and values, return decisions with reasons, and know no AWS."""
