"""What somebody would write who wants stack dev's one machine and nothing of gpubench: its resources, one by one."""

import pulumi
import pulumi_gcp as gcp

PROJECT, REGION, ZONES = "my-project", "us-central1", ["us-central1-a", "us-central1-b", "us-central1-c"]
NAME, BUCKET = "bare-benchmark", "my-project-gpubench"
LABELS = {"stack": "dev"}

account = gcp.serviceaccount.Account("account", project=PROJECT, account_id="bare-benchmark", display_name="bare dev")
member = pulumi.Output.concat("serviceAccount:", account.email)
gcp.projects.IAMMember("logs", project=PROJECT, role="roles/logging.logWriter", member=member)
end_role = gcp.projects.IAMCustomRole(
    "end",
    project=PROJECT,
    role_id="bare_end",
    title="delete the own machine",
    permissions=["compute.instances.delete"],
    stage="GA",
)
bucket = gcp.storage.Bucket(
    "bucket",
    name=BUCKET,
    project=PROJECT,
    location="US-CENTRAL1",
    labels=LABELS,
    uniform_bucket_level_access=True,
    public_access_prevention="enforced",
    versioning={"enabled": False},
    lifecycle_rules=[{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}],
    opts=pulumi.ResourceOptions(retain_on_delete=True),
)
gcp.storage.BucketIAMMember(
    "writer",
    bucket=BUCKET,
    role="roles/storage.objectCreator",
    member=member,
    condition={"title": "results", "expression": f'resource.name.startsWith("projects/_/buckets/{BUCKET}/objects/")'},
    opts=pulumi.ResourceOptions(depends_on=[bucket]),
)
repository = gcp.artifactregistry.Repository(
    "repository",
    project=PROJECT,
    location=REGION,
    repository_id="bench",
    format="DOCKER",
    labels=LABELS,
    cleanup_policies=[
        {"id": "keep-newest", "action": "KEEP", "most_recent_versions": {"keep_count": 10}},
        {"id": "old", "action": "DELETE", "condition": {"tag_state": "UNTAGGED", "older_than": "2592000s"}},
    ],
    opts=pulumi.ResourceOptions(retain_on_delete=True),
)
gcp.artifactregistry.RepositoryIamMember(
    "reader",
    project=PROJECT,
    location=REGION,
    repository="bench",
    role="roles/artifactregistry.reader",
    member=member,
    opts=pulumi.ResourceOptions(depends_on=[repository]),
)
network = gcp.compute.Network("vpc", project=PROJECT, auto_create_subnetworks=False, routing_mode="REGIONAL")
subnet = gcp.compute.Subnetwork(
    "subnet",
    project=PROJECT,
    region=REGION,
    network=network.self_link,
    ip_cidr_range="10.128.0.0/24",
    private_ip_google_access=True,
    stack_type="IPV4_ONLY",
)
end = gcp.projects.IAMMember(
    "ends-itself",
    project=PROJECT,
    role=end_role.role_id.apply(lambda role: f"projects/{PROJECT}/roles/{role}"),
    member=member,
    condition={"title": "ends itself", "expression": f'resource.name.extract("/instances/{{name}}") == "{NAME}"'},
)
template = gcp.compute.RegionInstanceTemplate(
    "template",
    project=PROJECT,
    region=REGION,
    machine_type="g2-standard-4",
    disks=[
        {
            "boot": True,
            "auto_delete": True,
            "source_image": "projects/deeplearning-platform-release/global/images/family/common-cu129-ubuntu-2404",
            "disk_size_gb": 200,
            "disk_type": "pd-balanced",
            "labels": LABELS,
        }
    ],
    scheduling={
        "provisioning_model": "SPOT",
        "preemptible": True,
        "automatic_restart": False,
        "on_host_maintenance": "TERMINATE",
        "instance_termination_action": "DELETE",
        "max_run_duration": {"seconds": 7200},
    },
    network_interfaces=[{"subnetwork": subnet.self_link}],
    service_account={"email": account.email, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]},
    shielded_instance_config={
        "enable_secure_boot": False,
        "enable_vtpm": True,
        "enable_integrity_monitoring": True,
    },
    metadata={"enable-oslogin": "TRUE", "startup-script": "#!/bin/sh\ndocker run --gpus all bench\n"},
    labels=LABELS,
    can_ip_forward=False,
)
gcp.compute.RegionInstanceGroupManager(
    "group",
    project=PROJECT,
    region=REGION,
    base_instance_name=NAME,
    versions=[{"instance_template": template.self_link}],
    target_size=1,
    distribution_policy_target_shape="ANY",
    distribution_policy_zones=ZONES,
    instance_lifecycle_policy={"default_action_on_failure": "DO_NOTHING"},
    update_policy={"type": "OPPORTUNISTIC", "minimal_action": "REPLACE", "instance_redistribution_type": "NONE"},
    wait_for_instances=False,
    opts=pulumi.ResourceOptions(depends_on=[end, subnet]),
)
