"""`kill -9` after each step of a real release in turn; `release resume` completes it."""

from __future__ import annotations

import signal

import pytest

from ovenbird.aws.clients import Account, AccountAccess, open_account
from ovenbird.config.settings import load_settings
from tests.acceptance.conftest import Branch, Kept
from tests.pipeline.test_step_names import CANARY

pytestmark = [pytest.mark.acceptance, pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.mark.usefixtures("load")
def test_a_release_killed_after_each_step_in_turn_is_completed_once(
    kept: Kept, branch: Branch
) -> None:
    names = list(dict.fromkeys(CANARY))
    ref = branch("killed", {"hello/greeting.py": ("!", "?")})
    words: tuple[str, ...] = ("release", "start", "--app", str(kept.app), "--ref", ref, "--yes")
    for name in names:
        done = kept.try_run(*words, OVENBIRD_DIE_AFTER=name)
        assert (name, done.returncode) == (name, -signal.SIGKILL), done.stderr
        words = ("release", "resume")

    kept.run("release", "resume")

    (release,) = (r for r in kept.ask("release", "list") if r["ref"] == ref)
    assert release["phase"] == "promoted"
    assert len(images_of(kept, release["commit"])) == 1
    cluster = kept.ask("cluster", "show", "hello-prod")
    made = [g for g in cluster["groups"] if g["release_id"] == release["release_id"]]
    assert [group["weight"] for group in made] == [100]
    assert parts_of(kept, "prod", made[0]["name"]) == (1, 1, 1)
    kept.run("cluster", "rollback", "hello-prod", "--to", "hello-prod-v001", "--yes")


def images_of(kept: Kept, commit: str) -> list[str]:
    """Return the images of development that were baked from a commit."""
    found = account(kept, "dev").ec2.describe_images(
        Filters=[{"Name": "tag:ovenbird:commit", "Values": [commit]}]
    )
    return [image["ImageId"] for image in found["Images"]]


def parts_of(kept: Kept, environment: str, name: str) -> tuple[int, int, int]:
    """Return how many Auto Scaling groups, launch templates and target groups are of a name."""
    owner = account(kept, environment)
    groups = owner.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    templates = owner.ec2.describe_launch_templates()["LaunchTemplates"]
    found = owner.elbv2.describe_target_groups()["TargetGroups"]
    arns = [group["TargetGroupArn"] for group in found]
    tagged = owner.elbv2.describe_tags(ResourceArns=arns)["TagDescriptions"]
    tag = {"Key": "ovenbird:server-group", "Value": name}
    return (
        sum(group["AutoScalingGroupName"] == name for group in groups),
        sum(template["LaunchTemplateName"] == name for template in templates),
        sum(tag in described["Tags"] for described in tagged),
    )


def account(kept: Kept, environment: str) -> Account:
    """Return an environment's account, reached as the settings say."""
    found = load_settings(kept.home / "sandbox/settings.yaml").environment(environment)
    return open_account(
        AccountAccess(
            account_id=found.account_id,
            region=found.region,
            role_arn=found.role_arn or "",
            endpoint_url=found.endpoint_url or "",
            credentials_file=str(found.credentials_file),
            profile=found.profile or "",
        )
    )
