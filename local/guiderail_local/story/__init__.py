"""The second part of the demo: what a policy makes of runs, told step by step."""
