"""What somebody would write who wants stack aws' one machine and nothing of gpubench: its resources, one by one."""

import json

import pulumi
import pulumi_aws as aws

ACCOUNT, REGION, REGIONS = "123456789012", "us-east-1", ["us-east-1", "us-west-2"]
ZONES = ["use1-az1", "use1-az2", "use1-az4", "use1-az5", "use1-az6"]
NAME, BUCKET, TAGS = "bare-benchmark", "my-gpubench", {"stack": "aws"}
ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


def role(name: str, service: str, statements: list[dict[str, object]]) -> aws.iam.Role:
    """A role that a service takes on, and what it may do."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    made = aws.iam.Role(
        name, name=f"bare-{name}", assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws.iam.RolePolicy(f"{name}-policy", role=made.name, policy=policy)
    return made


def allow(actions: list[str], resource: str) -> dict[str, object]:
    """A statement of a policy."""
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


for region in REGIONS:
    aws.cloudwatch.LogGroup(f"log-{region}", name="/bare", region=region, retention_in_days=14, tags=TAGS)
instance = role(
    "instance",
    "ec2.amazonaws.com",
    [
        allow(
            ["ecs:RegisterContainerInstance", "ecs:SubmitTaskStateChange"], f"arn:aws:ecs:*:{ACCOUNT}:cluster/bare-*"
        ),
        allow(["ecs:Poll"], f"arn:aws:ecs:*:{ACCOUNT}:container-instance/bare-*"),
        allow(["ecs:DiscoverPollEndpoint"], "*"),
    ],
)
profile = aws.iam.InstanceProfile("profile", role=instance.name)
execution = role(
    "execution",
    "ecs-tasks.amazonaws.com",
    [
        allow(["ecr:GetAuthorizationToken"], "*"),
        allow(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/bench"),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], f"arn:aws:logs:*:{ACCOUNT}:log-group:/bare:*"),
    ],
)
task_role = role(
    "task",
    "ecs-tasks.amazonaws.com",
    [
        allow(["s3:PutObject"], f"arn:aws:s3:::{BUCKET}/aws/runs/*"),
        allow(["logs:GetLogEvents"], f"arn:aws:logs:*:{ACCOUNT}:log-group:/bare:log-stream:*/benchmark/*"),
    ],
)
role("clock", "scheduler.amazonaws.com", [allow(["ecs:StopTask"], f"arn:aws:ecs:*:{ACCOUNT}:task/bare-*")])

bucket = aws.s3.Bucket("bucket", bucket=BUCKET, tags=TAGS, opts=pulumi.ResourceOptions(retain_on_delete=True))
closed = aws.s3.BucketPublicAccessBlock(
    "closed",
    bucket=bucket.bucket,
    block_public_acls=True,
    block_public_policy=True,
    ignore_public_acls=True,
    restrict_public_buckets=True,
)
aws.s3.BucketOwnershipControls("owner", bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"})
aws.s3.BucketServerSideEncryptionConfiguration(
    "encryption",
    bucket=bucket.bucket,
    rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
)
aws.s3.BucketLifecycleConfiguration(
    "lifecycle",
    bucket=bucket.bucket,
    rules=[
        {
            "id": "incomplete",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        }
    ],
)
only_tls = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
aws.s3.BucketPolicy(
    "policy",
    bucket=bucket.bucket,
    policy=json.dumps({"Version": "2012-10-17", "Statement": [only_tls]}),
    opts=pulumi.ResourceOptions(depends_on=[closed]),
)
repository = aws.ecr.Repository(
    "repository",
    name="bench",
    image_scanning_configuration={"scan_on_push": True},
    tags=TAGS,
    opts=pulumi.ResourceOptions(retain_on_delete=True),
)
selection = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 30}
rule = {"rulePriority": 1, "description": "no tag", "selection": selection, "action": {"type": "expire"}}
aws.ecr.LifecyclePolicy("old-images", repository=repository.name, policy=json.dumps({"rules": [rule]}))

vpc = aws.ec2.Vpc("vpc", cidr_block="10.64.0.0/16", enable_dns_support=True, enable_dns_hostnames=True, tags=TAGS)
private = [
    aws.ec2.Subnet(
        f"private-{zone}", vpc_id=vpc.id, availability_zone_id=zone, cidr_block=f"10.64.{16 * number}.0/20", tags=TAGS
    )
    for number, zone in enumerate(ZONES, start=1)
]
public = aws.ec2.Subnet("public", vpc_id=vpc.id, availability_zone_id=ZONES[0], cidr_block="10.64.0.0/24", tags=TAGS)
internet = aws.ec2.InternetGateway("internet", vpc_id=vpc.id, tags=TAGS)
address = aws.ec2.Eip("address", domain="vpc", tags=TAGS)
nat = aws.ec2.NatGateway("nat", subnet_id=public.id, allocation_id=address.id, tags=TAGS)
outside = aws.ec2.RouteTable(
    "outside", vpc_id=vpc.id, routes=[{"cidr_block": "0.0.0.0/0", "gateway_id": internet.id}], tags=TAGS
)
aws.ec2.RouteTableAssociation("outside", subnet_id=public.id, route_table_id=outside.id)
inside = aws.ec2.RouteTable(
    "inside", vpc_id=vpc.id, routes=[{"cidr_block": "0.0.0.0/0", "nat_gateway_id": nat.id}], tags=TAGS
)
for zone, subnet in zip(ZONES, private, strict=True):
    aws.ec2.RouteTableAssociation(f"inside-{zone}", subnet_id=subnet.id, route_table_id=inside.id)
aws.ec2.VpcEndpoint(
    "s3", vpc_id=vpc.id, service_name=f"com.amazonaws.{REGION}.s3", route_table_ids=[inside.id], tags=TAGS
)
security_group = aws.ec2.SecurityGroup(
    "nothing-comes-in",
    vpc_id=vpc.id,
    ingress=[],
    egress=[{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}],
    tags=TAGS,
)

cluster = aws.ecs.Cluster("cluster", name=NAME, tags=TAGS)
template = aws.ec2.LaunchTemplate(
    "template",
    name=NAME,
    image_id="resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id",
    instance_type="g5.xlarge",
    iam_instance_profile={"arn": profile.arn},
    metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
    network_interfaces=[
        {"device_index": 0, "associate_public_ip_address": "false", "security_groups": [security_group.id]}
    ],
    block_device_mappings=[
        {"device_name": "/dev/xvda", "ebs": {"volume_size": 200, "volume_type": "gp3", "encrypted": "true"}}
    ],
    instance_initiated_shutdown_behavior="terminate",
    user_data=cluster.name.apply(lambda name: f"#!/bin/sh\necho ECS_CLUSTER={name} >>/etc/ecs/ecs.config\n"),
    tags=TAGS,
)
group = aws.autoscaling.Group(
    "group",
    name=NAME,
    min_size=0,
    max_size=1,
    desired_capacity=1,
    vpc_zone_identifiers=[subnet.id for subnet in private],
    mixed_instances_policy={
        "launch_template": {
            "launch_template_specification": {
                "launch_template_id": template.id,
                "version": template.latest_version.apply(str),
            },
            "overrides": [{"instance_type": one} for one in ("g5.xlarge", "g5.2xlarge")],
        },
        "instances_distribution": {
            "on_demand_percentage_above_base_capacity": 0,
            "spot_allocation_strategy": "price-capacity-optimized",
        },
    },
    protect_from_scale_in=True,
    wait_for_capacity_timeout="0",
    ignore_failed_scaling_activities=True,
    force_delete=True,
    tags=[{"key": key, "value": value, "propagate_at_launch": True} for key, value in TAGS.items()],
    opts=pulumi.ResourceOptions(depends_on=[nat], ignore_changes=["desiredCapacity"]),
)
aws.autoscaling.Schedule(
    "end",
    scheduled_action_name="end",
    autoscaling_group_name=group.name,
    start_time="2030-01-01T00:00:00Z",
    min_size=0,
    max_size=0,
    desired_capacity=0,
)
provider = aws.ecs.CapacityProvider(
    "provider",
    name=NAME,
    auto_scaling_group_provider={
        "auto_scaling_group_arn": group.arn,
        "managed_scaling": {"status": "ENABLED", "target_capacity": 100},
        "managed_termination_protection": "ENABLED",
    },
    tags=TAGS,
)
aws.ecs.ClusterCapacityProviders("providers", cluster_name=cluster.name, capacity_providers=[provider.name])
container = {
    "name": "benchmark",
    "image": f"{ECR}/bench:1",
    "resourceRequirements": [{"type": "GPU", "value": "1"}],
    "mountPoints": [{"sourceVolume": "results", "containerPath": "/results"}],
}
aws.ecs.TaskDefinition(
    "task",
    family=NAME,
    network_mode="awsvpc",
    requires_compatibilities=["EC2"],
    execution_role_arn=execution.arn,
    task_role_arn=task_role.arn,
    volumes=[{"name": "results"}],
    container_definitions=json.dumps([container]),
    tags=TAGS,
)
