"""The least that a function over the same services can be: three clients and an answer."""

import boto3

CLIENTS = [boto3.client(name) for name in ("dynamodb", "sagemaker", "s3")]


def handler(event, context):
    """Answer."""
    return {"batchItemFailures": []}
