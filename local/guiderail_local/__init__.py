"""The local cloud: the project's real stack on this computer, without an AWS account."""
