"""Instances through boto3, without machines: launches, states, addresses."""

from __future__ import annotations

import base64
import ipaddress
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from moto.ec2.models import ec2_backends

from ovenbird.sandbox.endpoint import Endpoint
from ovenbird.sandbox.instances import forget
from ovenbird.sandbox.places import PRODUCTION

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

pytestmark = pytest.mark.sandbox
VPC = ipaddress.IPv4Network("172.31.0.0/16")


@pytest.fixture
def ec2(endpoint: Endpoint) -> EC2Client:
    return endpoint.development.ec2


@pytest.fixture
def image_id(endpoint: Endpoint) -> str:
    return register(endpoint)


def register(endpoint: Endpoint, **more: Any) -> str:
    ebs, ec2 = endpoint.development.ebs, endpoint.development.ec2
    snapshot_id = ebs.start_snapshot(VolumeSize=2)["SnapshotId"]
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=0)
    return ec2.register_image(
        Name=f"image-{uuid.uuid4()}",
        Architecture="x86_64",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
        **more,
    )["ImageId"]


def launch(ec2: EC2Client, count: int = 1, **words: Any) -> list[InstanceTypeDef]:
    found = ec2.run_instances(MinCount=1, MaxCount=count, **words)["Instances"]
    return describe(ec2, *(instance["InstanceId"] for instance in found))


def describe(ec2: EC2Client, *instance_ids: str) -> list[InstanceTypeDef]:
    found = ec2.describe_instances(InstanceIds=list(instance_ids))["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


def template(ec2: EC2Client, **data: Any) -> dict[str, str]:
    name = f"template-{uuid.uuid4()}"
    ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)  # type: ignore[arg-type]
    return {"LaunchTemplateName": name, "Version": "1"}


def test_addresses_are_of_the_default_subnet_and_no_two_alike(
    ec2: EC2Client, image_id: str
) -> None:
    found = launch(ec2, 5, ImageId=image_id)
    addresses = [ipaddress.IPv4Address(instance["PrivateIpAddress"]) for instance in found]
    (subnet,) = ec2.describe_subnets(SubnetIds=[found[0]["SubnetId"]])["Subnets"]

    assert len(set(addresses)) == 5
    assert all(a in ipaddress.IPv4Network(subnet["CidrBlock"]) and a in VPC for a in addresses)
    assert min(addresses) > ipaddress.IPv4Address("172.31.0.3")


def test_an_address_is_given_again_only_after_its_instance_is_terminated(
    ec2: EC2Client, image_id: str
) -> None:
    first, second = launch(ec2, 2, ImageId=image_id)
    ec2.terminate_instances(InstanceIds=[first["InstanceId"]])
    later = launch(ec2, 3, ImageId=image_id)
    ec2.terminate_instances(InstanceIds=[first["InstanceId"]])  # changes nothing
    last = launch(ec2, 2, ImageId=image_id)

    addresses = [instance["PrivateIpAddress"] for instance in (second, *later, *last)]
    assert len(set(addresses)) == len(addresses)


def test_a_zone_and_a_subnet_are_honoured(ec2: EC2Client, image_id: str) -> None:
    (by_zone,) = launch(ec2, ImageId=image_id, Placement={"AvailabilityZone": "eu-west-1b"})
    (by_subnet,) = launch(ec2, ImageId=image_id, SubnetId=by_zone["SubnetId"])

    assert by_zone["Placement"]["AvailabilityZone"] == "eu-west-1b"
    assert by_subnet["SubnetId"] == by_zone["SubnetId"]


def test_a_subnet_that_machines_cannot_be_in_is_refused(ec2: EC2Client, image_id: str) -> None:
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]

    with pytest.raises(ClientError, match="Unsupported"):
        launch(ec2, ImageId=image_id, SubnetId=subnet_id)


def test_an_address_that_is_named_must_be_free(ec2: EC2Client, image_id: str) -> None:
    (instance,) = launch(ec2, ImageId=image_id)
    subnet_id = instance["SubnetId"]
    taken, elsewhere = instance["PrivateIpAddress"], "172.31.255.9"

    for address, code in ((taken, r"InvalidIPAddress\.InUse"), (elsewhere, "ParameterValue")):
        with pytest.raises(ClientError, match=code):
            launch(ec2, ImageId=image_id, SubnetId=subnet_id, PrivateIpAddress=address)


def test_an_interface_of_its_own_has_a_free_address_and_outlives_the_instance(
    ec2: EC2Client, image_id: str
) -> None:
    (other,) = launch(ec2, ImageId=image_id)
    made = ec2.create_network_interface(SubnetId=other["SubnetId"])["NetworkInterface"]
    eni_id = made["NetworkInterfaceId"]
    (instance,) = launch(
        ec2,
        ImageId=image_id,
        NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": eni_id}],
    )
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"], other["InstanceId"]])
    left = ec2.describe_network_interfaces(
        Filters=[{"Name": "subnet-id", "Values": [other["SubnetId"]]}]
    )["NetworkInterfaces"]

    assert instance["PrivateIpAddress"] == made["PrivateIpAddress"]
    assert instance["PrivateIpAddress"] != other["PrivateIpAddress"]
    ids = {one["NetworkInterfaceId"] for one in left}
    assert eni_id in ids
    assert other["NetworkInterfaces"][0]["NetworkInterfaceId"] not in ids


def test_the_same_token_launches_once(ec2: EC2Client, image_id: str) -> None:
    words = {"ImageId": image_id, "ClientToken": str(uuid.uuid4())}
    first = launch(ec2, 2, **words)
    again = launch(ec2, 2, **words)

    assert [i["InstanceId"] for i in again] == [i["InstanceId"] for i in first]
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        launch(ec2, 2, **words, InstanceType="t3.micro")


def test_an_image_that_is_not_shared_cannot_be_launched(endpoint: Endpoint, image_id: str) -> None:
    theirs = endpoint.production.ec2

    for wanted in (image_id, "ami-00000000000000000"):
        with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
            launch(theirs, ImageId=wanted)

    endpoint.development.ec2.modify_image_attribute(
        ImageId=image_id, LaunchPermission={"Add": [{"UserId": PRODUCTION}]}
    )
    (instance,) = launch(theirs, ImageId=image_id)
    (volume,) = theirs.describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]}]
    )["Volumes"]

    assert instance["ImageId"] == image_id
    assert volume["Size"] == 2
    assert volume["SnapshotId"].startswith("snap-")


def test_a_launch_template_says_what_the_call_leaves_open(ec2: EC2Client, image_id: str) -> None:
    tags = [{"Key": "app", "Value": "hello"}]
    chosen = template(
        ec2,
        ImageId=image_id,
        InstanceType="t3.small",
        UserData=base64.b64encode(b"#cloud-config\n").decode(),
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 3},
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 7}}],
        InstanceInitiatedShutdownBehavior="terminate",
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": tags},
            {"ResourceType": "volume", "Tags": tags},
        ],
    )
    (instance,) = launch(ec2, LaunchTemplate=chosen)
    (volume,) = ec2.describe_volumes(
        VolumeIds=[instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]]
    )["Volumes"]
    asked = {"InstanceId": instance["InstanceId"], "Attribute": "userData"}
    user_data = ec2.describe_instance_attribute(**asked)["UserData"]["Value"]  # type: ignore[arg-type]

    assert (instance["ImageId"], instance["InstanceType"]) == (image_id, "t3.small")
    assert base64.b64decode(user_data) == b"#cloud-config\n"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 3
    assert {"Key": "app", "Value": "hello"} in instance["Tags"]
    assert (volume["Size"], volume["Tags"]) == (7, tags)
    assert len(instance["BlockDeviceMappings"]) == 1


def test_the_call_wins_over_the_template(ec2: EC2Client, image_id: str) -> None:
    chosen = template(
        ec2,
        ImageId="ami-00000000000000000",
        InstanceType="t3.small",
        MetadataOptions={"HttpTokens": "required"},
    )
    (instance,) = launch(
        ec2,
        LaunchTemplate=chosen,
        ImageId=image_id,
        InstanceType="t3.large",
        MetadataOptions={"HttpTokens": "optional"},
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 9}}],
    )
    mapping = instance["BlockDeviceMappings"][0]["Ebs"]

    assert (instance["ImageId"], instance["InstanceType"]) == (image_id, "t3.large")
    assert instance["MetadataOptions"]["HttpTokens"] == "optional"
    assert mapping["DeleteOnTermination"] is True


def test_an_image_is_found_by_a_parameter(
    endpoint: Endpoint, ec2: EC2Client, image_id: str
) -> None:
    account, name = endpoint.development, f"/images/{uuid.uuid4()}"
    ssm = account._session.client("ssm", **account._options)
    ssm.put_parameter(Name=name, Value=image_id, Type="String")
    (instance,) = launch(ec2, ImageId=f"resolve:ssm:{name}")

    assert instance["ImageId"] == image_id
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        launch(ec2, ImageId="resolve:ssm:/nowhere")


def test_an_image_for_imds_v2_requires_tokens(endpoint: Endpoint, ec2: EC2Client) -> None:
    image_id = register(endpoint, ImdsSupport="v2.0")
    (instance,) = launch(ec2, ImageId=image_id)

    ec2.modify_instance_metadata_options(InstanceId=instance["InstanceId"], HttpEndpoint="disabled")
    (after,) = describe(ec2, instance["InstanceId"])

    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    assert after["MetadataOptions"]["HttpTokens"] == "required"
    assert after["MetadataOptions"]["HttpEndpoint"] == "disabled"


def test_groups_are_the_calls_or_the_vpcs_default(ec2: EC2Client, image_id: str) -> None:
    (plain,) = launch(ec2, ImageId=image_id)
    group_id = ec2.create_security_group(
        GroupName=str(uuid.uuid4()), Description="d", VpcId=plain["VpcId"]
    )["GroupId"]
    (by_call,) = launch(ec2, ImageId=image_id, SecurityGroupIds=[group_id])
    (by_template,) = launch(
        ec2, LaunchTemplate=template(ec2, ImageId=image_id, SecurityGroupIds=[group_id])
    )

    assert [group["GroupName"] for group in plain["SecurityGroups"]] == ["default"]
    assert [group["GroupId"] for group in by_call["SecurityGroups"]] == [group_id]
    assert [group["GroupId"] for group in by_template["SecurityGroups"]] == [group_id]


def test_states_change_and_repeated_calls_change_nothing(ec2: EC2Client, image_id: str) -> None:
    (instance,) = launch(ec2, ImageId=image_id)
    ids = [instance["InstanceId"]]

    def state() -> str:
        return describe(ec2, *ids)[0]["State"]["Name"]

    seen = [state()]
    for act in (ec2.stop_instances, ec2.start_instances, ec2.terminate_instances):
        act(InstanceIds=ids)
        act(InstanceIds=ids)
        seen.append(state())

    assert seen == ["running", "stopped", "running", "terminated"]


def test_what_is_forgotten_is_not_found_and_leaves_no_empty_reservation(
    endpoint: Endpoint, ec2: EC2Client, image_id: str
) -> None:
    first, second = launch(ec2, 2, ImageId=image_id)
    with pytest.raises(ClientError, match="InvalidSubnetID"):
        launch(ec2, ImageId=image_id, SubnetId="subnet-00000000000000000")
    backend = ec2_backends[endpoint.development.account_id]["eu-west-1"]

    forget(backend, {first["InstanceId"]})

    assert [i["InstanceId"] for i in describe(ec2, second["InstanceId"])] == [second["InstanceId"]]
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        describe(ec2, first["InstanceId"])
    assert all(reservation.instances for reservation in backend.reservations.values())


def test_a_template_that_does_not_exist_is_refused(ec2: EC2Client) -> None:
    with pytest.raises(ClientError, match="InvalidLaunchTemplate"):
        launch(ec2, LaunchTemplate={"LaunchTemplateId": "lt-00000000000000000"})
