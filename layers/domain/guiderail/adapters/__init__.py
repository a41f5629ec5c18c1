"""AWS behind the ports; the only place with botocore."""
