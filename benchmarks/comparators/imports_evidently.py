"""A function that imports evidently, as samples on the web do."""

import evidently  # noqa: F401


def handler(event, context):
    """Answer."""
    return {"batchItemFailures": []}
