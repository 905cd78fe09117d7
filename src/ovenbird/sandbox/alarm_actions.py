"""What an alarm does when its state changes: it tells topics, in CloudWatch's words.

Source: CloudWatch user guide, "Notify users on alarm changes"; the fields are those of a
notification as SNS delivers it. Actions on Auto Scaling policies and EC2 are not built.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm
from moto.core.exceptions import ServiceException
from moto.sns.models import sns_backends

from ovenbird.sandbox.alarm_states import State
from ovenbird.sandbox.metrics import MetricsBackend

log = logging.getLogger(__name__)

_SUBJECT_CHARS = 100  # Source: SNS API reference, Publish, Subject


def announce(backend: MetricsBackend, alarm: Alarm, old: str) -> None:
    """Queue a notice for each topic of an alarm's new state.

    Args:
        backend: Whose alarm it is; keeps the notices.
        alarm: In its new state.
        old: The state that it had.
    """
    if not alarm.actions_enabled:
        return
    topics = {
        State.ALARM: alarm.alarm_actions,
        State.OK: alarm.ok_actions,
        State.INSUFFICIENT_DATA: alarm.insufficient_data_actions,
    }[State(alarm.state_value)]
    subject = f'{alarm.state_value}: "{alarm.name}" in {backend.region_name}'[:_SUBJECT_CHARS]
    message = json.dumps(_message(backend, alarm, old))
    for topic in topics or []:
        if topic.split(":")[2:3] == ["sns"]:
            backend.notices.append((topic, subject, message))


def publish(topic: str, subject: str, message: str) -> None:
    """Publish one notice; a topic that is gone is a line in the log.

    SNS calls its subscribers before it returns, so the control lock is not to be held.
    """
    region, account = topic.split(":")[3:5]
    try:
        sns_backends[account][region].publish(message=message, arn=topic, subject=subject)
    except ServiceException as error:
        log.warning("no notice to %s: %s", topic, error)


def _message(backend: MetricsBackend, alarm: Alarm, old: str) -> dict[str, Any]:
    moment = alarm.state_updated_timestamp.replace(tzinfo=UTC)
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": backend.account_id,
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": _time(moment),
        "Region": backend.region_name,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": old,
        "AlarmActions": list(alarm.alarm_actions or []),
        "OKActions": list(alarm.ok_actions or []),
        "InsufficientDataActions": list(alarm.insufficient_data_actions or []),
        "Trigger": {
            "MetricName": alarm.metric_name,
            "Namespace": alarm.namespace,
            "Period": alarm.period,
            "EvaluationPeriods": alarm.evaluation_periods,
            "ComparisonOperator": alarm.comparison_operator,
            "Threshold": alarm.threshold,
            "TreatMissingData": alarm.treat_missing_data or "missing",
            "Dimensions": [{"name": one.name, "value": one.value} for one in alarm.dimensions],
        },
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"
