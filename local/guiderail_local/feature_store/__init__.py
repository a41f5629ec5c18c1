"""SageMaker Feature Store's runtime on this computer: PutRecord to BatchWriteRecord over the real protocol.

Feature groups are those that somebody else describes, such as the local SageMaker. Records are checked
against their group's schema, and the online store keeps the one with the newest event time, in SQLite.
Faults can be planned: throttling, entries left unprocessed, an operation that a region does not have.
"""

from __future__ import annotations

from guiderail_local.feature_store.faults import Fault
from guiderail_local.feature_store.groups import Describe
from guiderail_local.feature_store.server import FeatureStore

__all__ = ["Describe", "Fault", "FeatureStore"]
