"""SageMaker Feature Store: descriptions of groups, and records written by signed requests of our own.

botocore's client would check each value against its model and build each body value by value: four fifths of
what a batch of 25 costs (docs/decisions/0015-reingestion.md). Records come here checked and encoded, so
botocore only says where the service is, signs, and holds the connections.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import botocore.session
import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.httpsession import URLLib3Session

from guiderail.adapters.clients import client, translated
from guiderail.errors import UnavailableError
from guiderail.model.ingestion import FeatureGroup, FeatureType, OperationMissingError
from guiderail.services.reingesting import Answer

_SIGNING_NAME = "sagemaker"
_CONNECT_SECONDS, _READ_SECONDS = 3, 15
_MISSING = frozenset({"UnknownOperationException", "UnknownOperation"})


class _Value(msgspec.Struct, rename="pascal"):
    feature_name: str
    value_as_string: str | None = None


class _Entry(msgspec.Struct, rename="pascal"):
    record: list[_Value]


class _EntryError(msgspec.Struct, rename="pascal"):
    entry: _Entry
    error_code: str = ""
    error_message: str = ""


class _BatchAnswer(msgspec.Struct, rename="pascal"):
    errors: list[_EntryError] = []
    unprocessed_entries: list[_Entry] = []


_ANSWER = msgspec.json.Decoder(_BatchAnswer)


class SageMakerFeatureGroups:
    """Implements FeatureGroups (services.reingesting)."""

    def describe(self, name: str) -> FeatureGroup:
        """Describe a group, all pages of its features."""
        definitions: list[Mapping[str, Any]] = []
        following: dict[str, str] = {}
        while True:
            with translated(f"DescribeFeatureGroup {name}"):
                page = client("sagemaker").describe_feature_group(
                    FeatureGroupName=name, **following
                )
            definitions += page["FeatureDefinitions"]
            if not page.get("NextToken"):
                break
            following = {"NextToken": page["NextToken"]}
        return FeatureGroup(
            name=name,
            identifier=page["RecordIdentifierFeatureName"],
            event_time=page["EventTimeFeatureName"],
            features={d["FeatureName"]: FeatureType(d["FeatureType"]) for d in definitions},
            collections=frozenset(d["FeatureName"] for d in definitions if d.get("CollectionType")),
        )


class FeatureStoreRuntime:
    """Implements FeatureStore (services.reingesting); for many threads.

    Source of paths and bodies: botocore's service model sagemaker-featurestore-runtime 2020-07-01.
    """

    def __init__(self, connections: int = 32) -> None:
        """Hold so many connections open: as many as there are threads."""
        self._connections = connections
        self._made: _Connection | None = None
        self._lock = threading.Lock()

    def write(
        self, group: FeatureGroup, identifiers: Sequence[str], bodies: Sequence[bytes]
    ) -> Answer:
        """BatchWriteRecord, once."""
        opening = b'{"FeatureGroupName":%s,"Record":' % msgspec.json.encode(group.name)
        entries = b"},".join(opening + body for body in bodies)
        content = self._connection.send("POST", "/BatchWriteRecord", b'{"Entries":[%s}]}' % entries)
        try:
            answer = _ANSWER.decode(content)
        except msgspec.DecodeError as error:
            raise UnavailableError(
                f"BatchWriteRecord: the answer is not AWS's own: {error}"
            ) from error
        if not answer.errors and not answer.unprocessed_entries:
            return Answer()
        places = {identifier: place for place, identifier in enumerate(identifiers)}

        def place_of(entry: _Entry) -> int:
            for value in entry.record:
                if value.feature_name == group.identifier and value.value_as_string in places:
                    return places[value.value_as_string]
            raise UnavailableError("BatchWriteRecord: the answer names a record that was not sent")

        return Answer(
            unprocessed=[place_of(entry) for entry in answer.unprocessed_entries],
            errors=[
                (place_of(one.entry), one.error_code, one.error_message) for one in answer.errors
            ],
        )

    def put(self, group: FeatureGroup, body: bytes) -> None:
        """PutRecord, once."""
        # botocore percent-encodes labels so: an ARN holds a slash and colons
        name = group.name.replace(":", "%3A").replace("/", "%2F")
        self._connection.send("PUT", f"/FeatureGroup/{name}", b'{"Record":%s}' % body)

    @property
    def _connection(self) -> _Connection:
        if self._made is None:
            with self._lock:
                self._made = self._made or _Connection(self._connections)
        return self._made


class _Connection:
    """Where the service is, and who we are."""

    def __init__(self, connections: int) -> None:
        with translated("finding Feature Store's runtime"):
            meta = client("sagemaker-featurestore-runtime").meta
            credentials = botocore.session.get_session().get_credentials()
            if credentials is None:
                raise NoCredentialsError
        self._url = meta.endpoint_url.rstrip("/")
        self._region = meta.region_name
        self._credentials = credentials
        options: dict[str, Any] = {
            "timeout": (_CONNECT_SECONDS, _READ_SECONDS),
            "max_pool_connections": connections,
            # head and body are two packets: without it the second waits for a delayed acknowledgement
            "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        }
        self._http = URLLib3Session(**options)

    def send(self, method: str, path: str, body: bytes) -> bytes:
        """Send a signed request, once.

        Raises:
            OperationMissingError: The service has no such operation here.
            GuiderailError: As ``translated`` says.
        """
        operation = "BatchWriteRecord" if method == "POST" else "PutRecord"
        request = AWSRequest(
            method, self._url + path, {"Content-Type": "application/json"}, data=body
        )
        with translated(operation):
            # frozen for this request: temporary credentials are renewed in between
            signer = SigV4Auth(
                self._credentials.get_frozen_credentials(), _SIGNING_NAME, self._region
            )
            signer.add_auth(request)
            response = self._http.send(request.prepare())
            content: bytes = response.content
            if response.status_code < 300:
                return content
            error = _error_of(response.status_code, response.headers, content)
            if error["Error"]["Code"] in _MISSING or response.status_code == 405:
                raise OperationMissingError(f"{operation}: {error['Error']['Message']}")
            raise ClientError(error, operation)


def _error_of(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """An error as botocore shapes it; its code comes by header, or in the body."""
    try:
        said = msgspec.json.decode(content)
    except msgspec.DecodeError:
        said = None
    told = said if isinstance(said, dict) else {}
    code = headers.get("x-amzn-errortype") or told.get("__type") or told.get("code") or str(status)
    return {
        "Error": {
            # "namespace#Code:http://…" in its longest form
            "Code": str(code).partition(":")[0].rpartition("#")[2],
            "Message": str(told.get("Message") or told.get("message") or ""),
        },
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
