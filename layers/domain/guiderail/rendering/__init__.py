"""Renderers: pure functions from a notification to what one channel takes, within that channel's limits."""
