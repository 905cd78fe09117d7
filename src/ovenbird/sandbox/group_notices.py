"""What lifecycle hooks tell their topics.

Source: Auto Scaling user guide, "Lifecycle hook notification message".
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from typing import Any

from ovenbird.sandbox.group_model import Group, moment

NOTICES: deque[tuple[str, str, str]] = deque()  # topic, subject, message


def notify(group: Group, hook: Any, instance_id: str) -> None:
    """Queue what a hook tells its topic when an instance begins to wait."""
    if not hook.notification_target_arn:
        return
    words = {
        "LifecycleHookName": hook.name,
        "AccountId": group.account_id,
        "RequestId": str(uuid.uuid4()),
        "LifecycleTransition": hook.lifecycle_transition,
        "AutoScalingGroupName": group.name,
        "Service": "AWS Auto Scaling",
        "Time": moment(),
        "EC2InstanceId": instance_id,
        "LifecycleActionToken": str(uuid.uuid4()),
    }
    if hook.notification_metadata:
        words["NotificationMetadata"] = hook.notification_metadata
    subject = f'Auto Scaling:  Lifecycle action for instance {instance_id} in group "{group.name}"'
    NOTICES.append((hook.notification_target_arn, subject[:100], json.dumps(words)))
