"""``guiderail.yaml``: the policy as operators write it, and what it compiles to."""

from guiderail_cli.policy_file.compiling import CompiledPolicy, compile_policy
from guiderail_cli.policy_file.problems import Level, Problem

__all__ = ["CompiledPolicy", "Level", "Problem", "compile_policy"]
