"""Google Cloud: Compute Engine, its quotas and policies, GKE, Cloud Run, Artifact Registry."""

from __future__ import annotations

from placement.causes import mends
from placement.causes.model import Cause, Scope
from placement.causes.patterns.model import Pattern, Says

_SKYPILOT = "SkyPilot sky/backends/cloud_vm_ray_backend.py"
_PERFKIT = "PerfKitBenchmarker gce_virtual_machine.py"
_AUTOSCALER = "kubernetes/autoscaler gce/autoscaling_gce_client.go"
_GCE_DOCS = "https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-vm-creation"
_RUN_DOCS = "https://cloud.google.com/run/docs/troubleshooting"

WAITING = (
    # Flex-start: a queue's state, said under the code of a stock-out.
    Pattern(
        "WAITING_FOR_RESOURCES",
        None,
        Scope.ZONE,
        r"waiting for resources\b(?:[. ]+currently there are not enough resources available to fulfill the request)?",
        "terraform-provider-google, group errors of resize requests",
        ("waiting for resources",),
    ),
    Pattern(
        "RESIZE_REQUEST_ACCEPTED",
        None,
        Scope.ZONE,
        r"resize ?-?_?requests?\b.{0,120}?\bstat(?:e|us)'?: '?(?:accepted|creating)\b",
        "Compute Engine docs, resize requests",
        ("resizerequest", "resize request", "resize-request", "resize_request"),
    ),
    Pattern(
        "PROVISIONING_REQUEST_ACCEPTED",
        None,
        Scope.ZONE,
        r"accepted provisioned failed\b.{0,240}?\btrue false false",
        "ray-project/ray#43062",
        ("accepted provisioned failed",),
    ),
    Pattern("TriggeredScaleUp", None, Scope.REGION, "pod triggered scale-up", "kubernetes/autoscaler#9470"),
    Pattern("ScaledUpGroup", None, Scope.REGION, "scale-up: setting group", "kubernetes/autoscaler#2619"),
    Pattern("JOB_SUCCEEDED", None, Scope.ZONE, "from running to succeeded", "nextflow-io/nextflow#4225"),
)

RATE_LIMITS = (
    # They speak of quotas, too: so they stand before those.
    Pattern(
        "RATE_LIMIT_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        r"quota exceeded for quota (?:metric|group) '[^']*' and limit '[^']*per[^']*(?:minute|second|day|hour)",
        "marketing-analytics-jumpstart#163; theoephraim/node-google-spreadsheet#332",
        ("quota exceeded for quota",),
    ),
    Pattern(
        "RATE_LIMIT_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        r"quota exceeded[^.]{0,80}requests per (?:minute|second|day|100 seconds)",
        _PERFKIT,
        ("requests per",),
    ),
    Pattern(
        "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        r"concurrent_operations_quota_exceeded|quota on concurrent operations exceeded",
        "podman-container-tools/podman#28212",
        ("concurrent_operations_quota", "quota on concurrent operations"),
    ),
    Pattern(
        "RATE_LIMIT_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        r"rate[ _]?limit[ _]?exceeded|resource_operation_rate_exceeded|userratelimitexceeded",
        _SKYPILOT,
        ("rate limit", "rate_limit_exceeded", "ratelimitexceeded", "userratelimit", "operation_rate_exceeded"),
        says=Says.CODE,
    ),
)

OFFERS = (
    # The same code as a stock-out has, but for good.
    Pattern(
        "NOT_SUPPORTED_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        r"is not supported in the '?[\w-]+'? zone\b(?: with your configuration)?",
        "Compute Engine, code ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        ("is not supported in the",),
    ),
    Pattern(
        "MACHINE_TYPE_NOT_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        r"machine ?type(?: with name)? '[^']+' does not exist in zone '?[\w-]*",
        "GoogleCloudPlatform/bank-of-anthos#1234; gruntwork-io/terratest#1132",
        ("does not exist in zone",),
    ),
    Pattern(
        "ACCELERATOR_NOT_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        r"accelerator ?type '?[^' ]+'? does not exist in (?:zone|region) '?[\w-]*",
        "GoogleCloudPlatform/kubernetes-engine-samples#1738",
        ("does not exist in",),
    ),
    Pattern(
        "TYPE_NOT_FOUND",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        r"resource:? '[^' ]*/(?:acceleratortypes|machinetypes|disktypes)/[^' ]*' (?:was )?not found",
        "fastai/course-v3#430; bsteuber/lizzie-gcloud-setup#6",
        ("acceleratortypes/", "machinetypes/", "disktypes/"),
    ),
    Pattern(
        "NO_ACCELERATOR_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        r"can not be used without accelerator\(s\) in zone",
        _SKYPILOT,
    ),
    Pattern(
        "GPU_NOT_IN_REGION",
        Cause.NOT_OFFERED,
        Scope.REGION,
        r"(?:gpus?|accelerator)(?: type)? '?[\w-]*'? ?(?:is|are) not (?:supported|available) in "
        r"(?:the )?(?:region|location)",
        _RUN_DOCS,
        ("not supported in", "not available in"),
    ),
    Pattern(
        "RUN_NO_ZONAL_REDUNDANCY",
        Cause.NOT_OFFERED,
        Scope.PURCHASE,
        "unable to offer gpu enabled instances with zonal redundancy",
        "Cloud Run, jobs",
        mend="Set zonal redundancy off for this job.",
    ),
)

QUOTAS = (
    Pattern(
        "ALL_REGIONS_QUOTA",
        Cause.QUOTA,
        Scope.PROJECT,
        r"quota '\w*_all_regions' exceeded|exceeded\.? *limit: [\d.]+ globally"
        r"|insufficient project quota to satisfy",
        "fastai/course-v3#165; kubeflow/examples#597",
        ("_all_regions", "globally", "insufficient project quota"),
        mends.quota,
    ),
    Pattern(
        "QUOTA_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        r"quota (?:limit )?'[^']+' (?:has been )?exceeded",
        "openshift/installer#5936; marin-community/marin#1612",
        ("exceeded",),
        mends.quota,
    ),
    Pattern(
        "INSUFFICIENT_QUOTA",
        Cause.QUOTA,
        Scope.REGION,
        r"insufficient (?:(?:regional|zonal) quota to satisfy|'?[\w-]+'? quota\b|quota to satisfy the "
        r"request: (?!not all))",
        "GoogleCloudPlatform/cloud-ops-sandbox#44; amygdala/tensorflow-workshop#13",
        ("insufficient",),
        mends.quota,
    ),
    Pattern(
        "QUOTA_METRICS_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        "quota metrics exceed quota limits",
        "google-deepmind/xmanager#29",
        mend=mends.quota,
    ),
    Pattern(
        "RUN_GPU_QUOTA",
        Cause.QUOTA,
        Scope.REGION,
        r"quota exceeded for total allowable|you do not have quota for using gpus?|\bquota violated\b"
        r"|max instances must be set to \d+ or fewer",
        "GoogleCloudPlatform/magic-modules#17149; pulumi/pulumi-gcp#3794",
        ("quota exceeded for total", "not have quota for using", "quota violated", "max instances must"),
        mends.run_quota,
    ),
    Pattern(
        "QUOTA_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        r"quota exceeded for quota (?:metric|group) '",
        "Google API errors",
        ("quota exceeded for quota",),
        mends.quota,
    ),
    Pattern(
        "QUOTA_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        r"(?<!operations_)\b(?:gce_)?quota_exceeded\b|\bquotaexceeded\b|scale\.up\.error\.quota\.exceeded",
        _AUTOSCALER,
        ("quota_exceeded", "quotaexceeded", "error.quota.exceeded"),
        mends.quota,
        Says.CODE,
    ),
)

STOCK = (
    Pattern(
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        Cause.CAPACITY,
        Scope.ZONE,
        r"(?:the zone '?[^' ]*'? does )?not (?:have )?enough resources available to fulfill(?: the)? request",
        "GoogleCloudPlatform/compute-image-tools#1960",
        ("enough resources available",),
    ),
    Pattern(
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        Cause.CAPACITY,
        Scope.ZONE,
        r"is currently unavailable in the '?[\w-]+'? zone",
        "kubernetes/k8s.io#9834; benseverndev-oss/goldenmatch#2771",
        ("currently unavailable in the",),
    ),
    Pattern(
        "INSUFFICIENT_CAPACITY",
        Cause.CAPACITY,
        Scope.ZONE,
        r"(?:does not|doesn't) currently have sufficient capacity for the requested resources?",
        _AUTOSCALER,
        ("currently have sufficient capacity",),
    ),
    Pattern(
        "TPU_CAPACITY",
        Cause.CAPACITY,
        Scope.ZONE,
        r"no more capacity in the zone '?[\w-]*",
        "magic-modules#7297",
        ("no more capacity",),
    ),
    Pattern(
        "PREEMPTED_WHILE_CREATED",
        Cause.CAPACITY,
        Scope.ZONE,
        "failed to start due to preemption",
        _PERFKIT + "; scylladb/scylla-cluster-tests#2945",
    ),
    Pattern(
        "OUT_OF_CAPACITY",
        Cause.CAPACITY,
        Scope.ZONE,
        r"requested zones? .{0,200}?(?:is|are) out of capacity|due to (?:a )?lack of capacity"
        r"|resource pool (?:is )?exhausted",
        "PerfKitBenchmarker google_kubernetes_engine.py",
        ("out of capacity", "lack of capacity", "resource pool"),
    ),
    Pattern("GCE_OUT_OF_RESOURCES", Cause.CAPACITY, Scope.ZONE, "gce out of resources", "GKE pod events"),
    Pattern(
        "GCE_QUOTA_EXCEEDED_EVENT",
        Cause.CAPACITY,
        Scope.ZONE,
        "gce quota exceeded",
        "huggingface/Google-Cloud-Containers#126",
        says=Says.CODE,  # a real quota's sentence beside it decides
        mend="The event says quota, but is also said of short shortages: if it comes back, look at the quota's usage.",
    ),
    Pattern(
        "RESERVATION_FULL",
        Cause.CAPACITY,
        Scope.PURCHASE,
        r"specified reservations? .{0,120}?do(?:es)? not have (?:enough |sufficient )?available resources"
        r"|no available resources in specified reservation|all automatic reservations .{0,120}?fully consumed",
        _AUTOSCALER,
        ("reservation",),
    ),
    Pattern(
        "IP_SPACE_EXHAUSTED",
        Cause.CAPACITY,
        Scope.REGION,
        r"ip space of .{0,240}?is exhausted|ip_space_exhausted|external ip resource pool is exhausted"
        r"|scale\.up\.error\.ip\.space\.exhausted",
        _AUTOSCALER + "; hashicorp/terraform-cdk#1964",
        ("ip space of", "ip_space_exhausted", "external ip resource pool", "ip.space.exhausted"),
        "The address range of the subnet is used up: free some, or widen it.",
    ),
    Pattern(
        "RUN_NO_INSTANCE",
        Cause.CAPACITY,
        Scope.REGION,
        r"request was aborted because there was no available instance",
        _RUN_DOCS,
        ("no available instance",),
    ),
    Pattern(
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        Cause.CAPACITY,
        Scope.ZONE,
        r"(?:zone_|region_)?resource_pool_exhausted(?:_with_details)?|\b(?:error_|gce_|gpu_)?stockout\b"
        r"|\binsufficient_capacity\b|vm_min_count_not_reached|scale\.up\.error\.out\.of\.resources"
        r"|reason'?: '?resource_availability",
        _SKYPILOT + "; " + _PERFKIT + "; " + _AUTOSCALER,
        (
            "resource_pool_exhausted",
            "stockout",
            "insufficient_capacity",
            "vm_min_count_not",
            "out.of.resources",
            "resource_availability",
        ),
        says=Says.CODE,
    ),
    Pattern(
        "RESOURCE_EXHAUSTED",
        Cause.CAPACITY,
        Scope.ZONE,
        "requested resource is exhausted",
        "GKE node pools",
        says=Says.CODE,
    ),
)

RIGHTS = (
    Pattern(
        "DOWNLOAD_ARTIFACTS_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"artifactregistry\.repositories\.downloadartifacts|must have permission to read the image",
        "GoogleCloudPlatform/gcr-cleaner#76; cyrildiagne/basnet-http#3",
        ("downloadartifacts", "permission to read the image"),
        mends.pull,
    ),
    Pattern(
        "SERVICE_DISABLED",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"api has not been used in project|or it is disabled\. enable it by|\bservice_disabled\b|accessnotconfigured",
        "GoogleCloudPlatform/emblem#757; terraform-google-project-factory#753",
        ("has not been used in project", "enable it by", "service_disabled", "accessnotconfigured"),
        mends.api_off,
    ),
    Pattern(
        "ORGANIZATION_POLICY",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"constraints?/[a-z][\w.]+|violates constraint|(?:violat\w+|blocked by|denied by) (?:an? |the "
        r")?org(?:anization)? policy",
        "GoogleCloudPlatform/compute-image-tools#1476; fortinet/fortigate-terraform-deploy#34",
        ("constraint", "org policy", "organization policy"),
        mends.policy,
    ),
    Pattern(
        "BILLING_DISABLED",
        Cause.PERMISSION,
        Scope.CLOUD,
        r"requires billing to be enabled|billing must be enabled|has not configured billing|billing_disabled"
        r"|billing account .{0,80}?(?:is not found|is closed|is disabled|not open|not active|in good standing)"
        r"|billing (?:is|to be|has been) (?:disabled|closed)|disabled billing",
        "kyegomez/zeta#71; pgmichael/wavenet-for-chrome#83; forseti-security#1465",
        ("billing",),
        "Enable billing for the project.",
    ),
    Pattern(
        "NO_CREDENTIALS",
        Cause.PERMISSION,
        Scope.CLOUD,
        r"could not find default credentials|default credentials were not found|\binvalid_grant\b"
        r"|invalid authentication credentials|cannot fetch token|rapt_required"
        r"|do not currently have an active account selected|no active account",
        "pulumi/pulumi#3482; pulumi/pulumi-gcp#479; hashicorp/terraform#27658",
        (
            "default credentials",
            "invalid_grant",
            "authentication credentials",
            "cannot fetch token",
            "rapt_required",
            "active account",
        ),
        "Log in: gcloud auth application-default login, or give a service account's credentials.",
    ),
    Pattern(
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"insufficient authentication scopes|access_token_scope_insufficient|correct permission scopes",
        "hectorj/terraform-provider-googlesiteverification#18",
        ("authentication scopes", "scope_insufficient", "permission scopes"),
        "Give the credentials the scope https://www.googleapis.com/auth/cloud-platform.",
    ),
    Pattern(
        "SERVICE_ACCOUNT_ACCESS_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"iam\.serviceaccounts\.actas|does not have access to service account|service_account_access_denied",
        "google/keyword_factory#22; Compute Engine, code SERVICE_ACCOUNT_ACCESS_DENIED",
        ("iam.serviceaccounts.actas", "access to service account", "service_account_access_denied"),
        mends.act_as,
    ),
    Pattern(
        "IAM_PERMISSION_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"required '[a-z]\w*\.[\w.]+' permission|permissions? '[a-z][\w-]*\.[\w.]+' (?:denied|is required|required)"
        r"|permission denied (?:on|for) '?(?:resource|project|location|service|consumer)"
        r"|caller does not have (?:the )?(?:required )?permission|does not have (?:the "
        r")?'?\w+\.[\w.]+'? (?:access|permission)"
        r"|does not have permission|iam_permission_denied|policy update access denied|permissions_error"
        r"|is not found or access is unauthorized|not found or permission denied"
        r"|missing (?:the )?(?:necessary |required )?permissions?\b|lacks (?:the )?permission|insufficient permission"
        r"|permission '?[a-z]\w*\.\w+\.\w+'? (?:denied|is required)",
        "hashicorp/terraform#15952; mitchellh/vagrant-google#163; perkeep/perkeep#943; " + _AUTOSCALER,
        ("permission", "policy update access denied", "access is unauthorized"),
        mends.google_permission,
    ),
    Pattern(
        "PERMISSION_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"\bpermission_?denied\b|permission denied\b|error 403\b.{0,600}?, forbidden|\bunauthenticated\b",
        "Google API errors",
        ("permissiondenied", "permission_denied", "permission denied", "forbidden", "unauthenticated"),
        mends.google_permission,
        Says.CODE,
    ),
)

REQUESTS = (
    Pattern(
        "RESERVATION_NOT_FOUND",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"specified reservations? .{0,120}?do(?:es)? not exist|there is no automatic reservation matching"
        r"|reservation .{0,120}?is incorrect for the requested|reservation must exist in the same project",
        _AUTOSCALER,
        ("reservation",),
        "Name a reservation that exists in this project and zone and has this shape.",
    ),
    Pattern(
        "RESERVATION_NOT_READY",
        Cause.TRANSIENT,
        Scope.ZONE,
        "requires reservation to be in ready state",
        _AUTOSCALER,
    ),
    Pattern(
        "LIVE_MIGRATION",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        "guest accelerators do not support live migration",
        "loft-sh/devpod#973; iterative/cml#1398",
        mend="A machine with GPUs needs onHostMaintenance TERMINATE.",
    ),
    Pattern(
        "INCOMPATIBLE_FEATURES",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        "features are not compatible for creating instance",
        "DataBiosphere/dsub#301",
        mend="The text names a pair, of a disk and a machine type for instance, that goes together in no "
        "zone: change one.",
    ),
    Pattern(
        "UNSUPPORTED_UPDATE",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"cannot be used when updatepolicy type|you cannot specify a |cannot create local ssd as persistent"
        r"|expected one network interface",
        "hail-is/hail#11878; kubernetes/autoscaler",
        ("updatepolicy", "you cannot specify a ", "cannot create local ssd", "expected one network"),
        "Correct what the text names.",
    ),
    Pattern(
        "DELETION_PROTECTION",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"deletion_?protection",
        "terraform-provider-google",
        ("deletion_protection", "deletionprotection"),
        "Set deletion protection to false, update, and try again.",
    ),
    Pattern(
        "ALREADY_EXISTS",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"the resource '[^']*' already exists",
        "terraform-provider-google, HTTP 409",
        ("already exists",),
        "Something with this name is there already, left over or somebody else's: remove it, or "
        "import it into the stack.",
    ),
    Pattern(
        "INVALID_FIELD_VALUE",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"invalid value for field|invalid field selection|\binvalid_(?:field_value|usage|argument)\b"
        r"|error 400: .{0,400}?, (?:invalid|badrequest)\b|argument --[a-z-]+:",
        "googleapis/google-cloud-java#915; openshift/installer#7096",
        ("invalid value for field", "invalid field sel", "invalid_", "error 400", "argument --"),
        "Correct the field that the text names.",
        Says.CODE,
    ),
)

PASSING = (
    Pattern(
        "RESOURCE_NOT_READY",
        Cause.TRANSIENT,
        Scope.REGION,
        r"the resource '[^']*' is not ready|\bresource_?not_?ready\b",
        "GoogleCloudPlatform/gke-migration-to-containers#63",
        ("is not ready", "resourcenotready", "resource_not_ready"),
    ),
    Pattern(
        "OPERATION_IN_PROGRESS",
        Cause.TRANSIENT,
        Scope.REGION,
        r"running incompatible operation|operation .{0,120}?is (?:currently|already) (?:in progress|upgrading|creating)"
        r"|there (?:is|was) a conflict|concurrent policy changes|try again once it is done",
        "terraform-provider-google, HTTP 409",
        ("incompatible operation", "operation", "a conflict", "concurrent policy", "once it is done"),
        says=Says.CODE,
    ),
    Pattern(
        "INTERNAL_ERROR",
        Cause.TRANSIENT,
        Scope.REGION,
        r"\binternal error\b|\binternal[_ ]failure\b|\bbackend ?error\b|service is currently unavailable"
        r"|\bcode ?= ?unavailable\b|\bservice unavailable\b|\bserver unavailable\b|\bbad gateway\b"
        r"|\bgateway time-?out\b"
        r"|\binternal server error\b",
        "ZcashFoundation/zebra#6451; hashicorp/packer-plugin-googlecompute#104; " + _PERFKIT,
        (
            "internal error",
            "internal failure",
            "internal_failure",
            "internal server",
            "backend error",
            "backenderror",
            "unavailable",
            "bad gateway",
            "gateway time",
        ),
        says=Says.WRAPPING,
    ),
)

PREEMPTIONS = (
    Pattern(
        "PREEMPTED",
        Cause.INTERRUPTED,
        Scope.ZONE,
        r"(?:\b(?:vm|instance|node|machine|worker)s?\b[^.]{0,80}?(?:was|were|has been|got|is being) preempted)"
        r"|compute\.instances\.preempted|preempted during run time|preemptionbyscheduler|preempted by the system",
        "thought-machine/spot-interruption-exporter; broadinstitute/cromwell#7457",
        ("preempt",),
    ),
    Pattern(
        "BATCH_PREEMPTED",
        Cause.INTERRUPTED,
        Scope.ZONE,
        r"exit (?:code|status):?'? \(?50001\b",
        "nextflow-io/nextflow#6690",
        ("exit code", "exit status"),
    ),
    Pattern(
        "HOST_ERROR",
        Cause.INTERRUPTED,
        Scope.ZONE,
        r"compute\.instances\.(?:hosterror|terminateonhostmaintenance)|terminated (?:due to|for) host maintenance"
        r"|terminateonhostmaintenance",
        "Compute Engine docs, host events",
        ("hosterror", "terminateonhostmaintenance", "host maintenance"),
    ),
)
