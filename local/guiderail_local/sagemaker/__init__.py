"""SageMaker on this computer: a moto server, and beside it what moto lacks.

| module | what is ours |
|---|---|
| `pipelines.py` | executions that take their time, end as planned, and register model packages |
| `monitoring.py` | schedules, their executions and tags, processing jobs |
| `registry.py` | that a model package was approved or rejected is told |
| `endpoints.py` | UpdateEndpoint |
| `feature_groups.py` | descriptions of feature groups |

Jobs and schedules that are registered are answered as they were recorded.
"""

from guiderail_local.sagemaker.parts import Event, on_the_wire
from guiderail_local.sagemaker.pipelines import Ending, PipelineStart
from guiderail_local.sagemaker.server import SageMaker

__all__ = ["Ending", "Event", "PipelineStart", "SageMaker", "on_the_wire"]
