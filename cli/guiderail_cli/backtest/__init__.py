"""Try before you trust: stored runs under a policy, and under another one."""
