"""What is in the accounts when the sandbox is up: a network, a load balancer, a base image.

All of it is made through the public API, as an operator would make it on AWS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ovenbird.aws.clients import Account
from ovenbird.aws.snapshots import EbsSnapshots
from ovenbird.sandbox import base_images
from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.places import Places
from ovenbird.sandbox.settings_file import Network, settings, write_settings
from ovenbird.system.clock import SystemClock

NAME = "ovenbird"
PORT = 80
Progress = Callable[[str], None]


def populate(places: Places, endpoint: Endpoint, *, disk: Path, progress: Progress) -> None:
    """Fill the accounts and write the settings file.

    Args:
        places: Where the settings go.
        endpoint: Of the running server.
        disk: The base image's disk.
        progress: Told what is being done.
    """
    progress(f"Registering base image `{base_images.image_name()}`")
    snapshots = EbsSnapshots(
        endpoint.development, cache=places.home / "downloads", clock=SystemClock()
    )
    base_images.register(disk, account=endpoint.development, snapshots=snapshots)
    progress("Making networks and load balancers")
    accounts = (endpoint.development, endpoint.production)
    networks = {account.account_id: _network(account) for account in accounts}
    write_settings(
        places.settings,
        settings(
            places,
            endpoint_url=endpoint.url,
            base_image=base_images.image_name(),
            networks=networks,
        ),
    )


def _network(account: Account) -> Network:
    """Make a security group and a load balancer in an account's default VPC."""
    ec2 = account.ec2
    is_default = [{"Name": "is-default", "Values": ["true"]}]
    vpc_id = ec2.describe_vpcs(Filters=is_default)["Vpcs"][0]["VpcId"]  # type: ignore[arg-type]
    found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["Subnets"]
    subnet_ids = tuple(sorted(subnet["SubnetId"] for subnet in found))
    group_id = _security_group(account, vpc_id)
    balancer = account.elbv2.create_load_balancer(
        Name=NAME, Type="application", Subnets=subnet_ids, SecurityGroups=[group_id]
    )["LoadBalancers"][0]
    return Network(
        account_id=account.account_id,
        vpc_id=vpc_id,
        subnet_ids=subnet_ids,
        security_group_id=group_id,
        listener_arn=_listener(account, balancer["LoadBalancerArn"]),
        address=balancer["DNSName"],
    )


def _security_group(account: Account, vpc_id: str) -> str:
    group_id = account.ec2.create_security_group(
        GroupName=NAME, Description="Apps behind the load balancer", VpcId=vpc_id
    )["GroupId"]
    account.ec2.authorize_security_group_ingress(
        GroupId=group_id, IpProtocol="tcp", FromPort=PORT, ToPort=PORT, CidrIp="172.31.0.0/16"
    )
    return group_id


def _listener(account: Account, balancer_arn: str) -> str:
    """Make the listener; what no rule takes is answered with 404."""
    listener = account.elbv2.create_listener(
        LoadBalancerArn=balancer_arn,
        Protocol="HTTP",
        Port=PORT,
        DefaultActions=[
            {
                "Type": "fixed-response",
                "FixedResponseConfig": {
                    "StatusCode": "404",
                    "ContentType": "text/plain",
                    "MessageBody": "No such app\n",
                },
            }
        ],
    )["Listeners"][0]
    return listener["ListenerArn"]
