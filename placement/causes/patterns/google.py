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

_FOR_NOW = r"(?:not available|unavailable) in [^.]{0,80}?(?:right now|at (?:this|the) (?:time|moment)\b)"

WAITING = (
    # Flex-start: a queue's state, said under the code of a stock-out.
    Pattern(
        "WAITING_FOR_RESOURCES",
        None,
        Scope.ZONE,
        (
            (
                r"waiting for resources\b(?:[. ]+currently there are not enough resources available to fulfill the"
                " request)?"
            ),
        ),
        "terraform-provider-google, group errors of resize requests",
    ),
    Pattern(
        "RESIZE_REQUEST_ACCEPTED",
        None,
        Scope.ZONE,
        (r"resize ?-?_?requests?\b.{0,120}?\bstat(?:e|us)'?: '?(?:accepted|creating)\b",),
        "Compute Engine docs, resize requests",
    ),
    Pattern(
        "PROVISIONING_REQUEST_ACCEPTED",
        None,
        Scope.ZONE,
        (r"accepted provisioned failed\b.{0,240}?\btrue false false",),
        "ray-project/ray#43062",
    ),
    Pattern("TriggeredScaleUp", None, Scope.REGION, ("pod triggered scale-up",), "kubernetes/autoscaler#9470"),
    Pattern("ScaledUpGroup", None, Scope.REGION, ("scale-up: setting group",), "kubernetes/autoscaler#2619"),
    Pattern("JOB_SUCCEEDED", None, Scope.ZONE, ("from running to succeeded",), "nextflow-io/nextflow#4225"),
)

RATE_LIMITS = (
    # They speak of quotas, too: so they stand before those.
    Pattern(
        "RATE_LIMIT_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        (("quota exceeded for quota (?:metric|group) '[^']*' and [limt ]+'[^']*per[^']*(?:mi ?n|se ?c|da ?y|ho ?u)"),),
        "marketing-analytics-jumpstart#163; theoephraim/node-google-spreadsheet#332",
    ),
    Pattern(
        "RATE_LIMIT_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        (
            "quota exceeded[^.]{0,80}requests per (?:minute|second|day|100 seconds)",
            r"quota exceeded for [\w.-]+/\w+_per_(?:minute|second)\w*",
        ),
        _PERFKIT,
    ),
    Pattern(
        "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        (
            "concurrent_operations_quota_exceeded",
            "quota on concurrent operations exceeded",
        ),
        "podman-container-tools/podman#28212",
    ),
    Pattern(
        "RATE_LIMIT_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        (
            "rate[ _]?limit[ _]?exceeded",
            "resource_operation_rate_exceeded",
            "userratelimitexceeded",
        ),
        _SKYPILOT,
        says=Says.CODE,
    ),
    Pattern(
        "RATE_LIMIT_EXCEEDED",
        Cause.TRANSIENT,
        Scope.PROJECT,
        (
            r"exceed(?:s|ed|ing)? (?:its|the|your|their) (?:\w+ ){0,2}rate limit",
            "reduce your request rate",
            "failed to get rate limit token",
            "being rate limited",
            "exceeded rate limit",
            "client to slow down",
            "request rate (?:is )?too (?:high|large)",
            r"\bslowdown\b",
            r"\b(?:error|status|code|http):? 429\b",
        ),
        "Google and Amazon API errors",
        says=Says.WRAPPING,
    ),
)

OFFERS = (
    # The same code as a stock-out has, but for good.
    Pattern(
        "NOT_SUPPORTED_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        (r"is not supported in the '?[\w-]+'? zone\b(?: with your configuration)?",),
        "Compute Engine, code ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
    ),
    Pattern(
        "MACHINE_TYPE_NOT_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        (r"machine ?type(?: with name)? '[^']+' does not exist in zone '?[\w-]*",),
        "GoogleCloudPlatform/bank-of-anthos#1234; gruntwork-io/terratest#1132",
    ),
    Pattern(
        "ACCELERATOR_NOT_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        (r"accelerator ?type '?[^' ]+'? does not exist in (?:zone|region) '?[\w-]*",),
        "GoogleCloudPlatform/kubernetes-engine-samples#1738",
    ),
    Pattern(
        "TYPE_NOT_FOUND",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        ("resource:? '[^' ]*/(?:acceleratortypes|machinetypes|disktypes)/[^' ]*' (?:was )?not found",),
        "fastai/course-v3#430; bsteuber/lizzie-gcloud-setup#6",
    ),
    Pattern(
        "NO_ACCELERATOR_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        (r"can not be used without accelerator\(s\) in zone",),
        _SKYPILOT,
    ),
    Pattern(
        "GPU_NOT_IN_REGION",
        Cause.NOT_OFFERED,
        Scope.REGION,
        (
            (
                r"(?:gpus?|accelerator)(?: type)? '?[\w-]*'? ?(?:is|are) not (?:supported|available) in (?:the"
                " )?(?:region|location)"
            ),
        ),
        _RUN_DOCS,
    ),
    Pattern(
        "RUN_NO_ZONAL_REDUNDANCY",
        Cause.NOT_OFFERED,
        Scope.PURCHASE,
        ("unable to offer gpu enabled instances with zonal redundancy",),
        "Cloud Run, jobs",
        mend="Set zonal redundancy off for this job.",
    ),
    Pattern(
        "CPU_PLATFORM_NOT_IN_ZONE",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        (r"cpu platform(?: type)?(?: with name)? '?[\w ]{1,30}'? (?:does not exist|is not available) in",),
        "PerfKitBenchmarker; spinnaker/clouddriver",
    ),
    Pattern(
        "FEATURE_NOT_OFFERED",
        Cause.NOT_OFFERED,
        Scope.REGION,
        (
            (
                "(?:functionality|feature|service|operation) .{0,40}?(?:is|are) not (?:available|supported"
                r"|offered) in (?:this|the|that|your) (?:\w+ )?(?:region|location|zone)"
            ),
        ),
        "jtriley/StarCluster#539",
    ),
    Pattern(
        "TYPE_NOT_OFFERED",
        Cause.NOT_OFFERED,
        Scope.REGION,
        (
            (
                r"(?:machine|instance|accelerator|gpu|hardware|vm|node)s?(?: types?)?:? ?'?[\w.-]*'?(?:"
                " instances?)? ?(?:is|are|was)? ?(?:not (?:supported|offered|available|found)|unavailable"
                "|unsupported) in (?:the |this |your |that )?(?:specified |selected |requested |given |aws |gcp "
                "|chosen )?(?:region|location|zone|availability zone)"
            ),
            (
                r"(?:instance|machine|accelerator|gpu)s?(?: types?)?(?: '?[\w.-]+'?)? (?:is|are) not (?:available"
                r"|offered|supported) in \w\w+-\w+-?\d"
            ),
            "(?:isn't|is not) (?:available|offered) in (?:this|your) region",
            r"does not exist in zone \w+-\w+\d",
            r"no zone in [\w-]+ offers",
        ),
        "aws/amazon-ecs-cli#1007; " + _GCE_DOCS,
        # For now only: a shortage.
        unless=_FOR_NOW,
    ),
)

QUOTAS = (
    Pattern(
        "ALL_REGIONS_QUOTA",
        Cause.QUOTA,
        Scope.PROJECT,
        (
            r"quota '\w*_all_regions' exceeded",
            r"exceeded\.? *limit: [\d.]+ globally",
            "insufficient project quota to satisfy",
        ),
        "fastai/course-v3#165; kubeflow/examples#597",
        mends.quota,
    ),
    Pattern(
        "QUOTA_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        ("quota (?:limit )?'[^']+' (?:has been )?exceeded",),
        "openshift/installer#5936; marin-community/marin#1612",
        mends.quota,
    ),
    Pattern(
        "INSUFFICIENT_QUOTA",
        Cause.QUOTA,
        Scope.REGION,
        (
            (
                r"insufficient (?:(?:regional|zonal) quota to satisfy|'?[\w-]+'? quota\b|quota to satisfy the"
                " request: (?:[^n]|n[^o]|no[^t]|not [^a]))"
            ),
        ),
        "GoogleCloudPlatform/cloud-ops-sandbox#44; amygdala/tensorflow-workshop#13",
        mends.quota,
    ),
    Pattern(
        "QUOTA_METRICS_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        ("quota metrics exceed quota limits",),
        "google-deepmind/xmanager#29",
        mend=mends.quota,
    ),
    Pattern(
        "MORE_THAN_QUOTA",
        Cause.QUOTA,
        Scope.REGION,
        (
            r"more than (?:the |your )?(?:\w+ )?(?:quota|limit) of \d",
            "must request an increase (?:of|in|to) your",
            r"cannot create more than \d",
            "exceeded (?:the )?quota of account",
            r"limit of \d+ exceeded",
            r"cannot create more [\w ]+\.",
        ),
        "kubernetes/test-infra#5509; openshift/hive",
        mends.quota,
    ),
    Pattern(
        "RUN_GPU_QUOTA",
        Cause.QUOTA,
        Scope.REGION,
        (
            "quota exceeded for total allowable",
            "you do not have quota for using gpus?",
            r"\bquota violated\b",
            r"max instances must be set to \d+ or fewer",
        ),
        "GoogleCloudPlatform/magic-modules#17149; pulumi/pulumi-gcp#3794",
        mends.run_quota,
    ),
    Pattern(
        "QUOTA_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        ("quota exceeded for quota (?:metric|group) '",),
        "Google API errors",
        mends.quota,
    ),
    Pattern(
        "QUOTA_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        (
            r"\b(?:gce_)?quota_exceeded\b",
            r"\bquotaexceeded\b",
            r"scale\.up\.error\.quota\.exceeded",
        ),
        _AUTOSCALER,
        mends.quota,
        Says.CODE,
    ),
    Pattern(
        "QUOTA_EXCEEDED",
        Cause.QUOTA,
        Scope.REGION,
        (
            r"\bquotas? (?:limit )?(?:has been |have been |was |were |is |are )?(?:exceeded|exhausted|reached)\b",
            r"\b(?:insufficient|not enough|no) (?:\w+ ){0,3}quota\b",
            r"exceed(?:s|ed|ing)? (?:\w+ ){0,4}quotas?\b",
            r"exceedquota\b",
            r"(?:out of|over|beyond|above) (?:(?:your|the|its|my|our|gpu|cpu|vcpu) )*quota\b",
            r"\b(?:quota|limit) for [\w. -]{1,60}? (?:in [\w-]+ )?is only \d",
            r"request (?:an? )?(?:\w+ ){0,2}(?:quota|limit) increase",
            r"increase (?:your|the) (?:\w+ ){0,3}quota\b",
            r"(?:have|has) enough (?:\w+ )?quota\b",
            r"quota is (?:only )?\d",
            "exceeds? approved quota",
            "resource_quota_exceeded",
            r"\bquota '?[a-z0-9_-]{2,60}'? exceeded\b",
            (
                r"\b(?:cpu|gpu|core|instance|accelerator|tpu|node|service|account|project|regional) limits?"
                r" (?:(?:has|have|is|are|was|were|been) )*(?:exceeded|reached|hit)\b"
            ),
            (
                r"(?:exceed(?:s|ed|ing)?|reached|above|beyond) (?:your|the|its) (?:\w+ ){0,3}"
                r"(?:allowance|allotment|(?:instance|gpu|cpu|core|service|account|accelerator|resource) limits?)\b"
            ),
            r"(?:allowed|permitted|cannot) (?:to )?(?:run|use|launch|have) more than \d",
            r"reached (?:the|your|its) (?:\w+ ){0,2}quota",
            r"you can only (?:have|run|launch|create|use) \d+ ",
            r"\baccount is limited to \d",
            r"exceeds? the (?:number|count|amount) of (?:gpu|cpu|vcpu|instance|node|accelerator)s allowed\b",
            r"(?:gpu|cpu|instance|core|accelerator) (?:allowance|allotment)\b",
            r"exceeds? the allowed (?:\w+ )?limit\b",
        ),
        "cortexlabs/cortex#1878; Google API errors",
        mends.quota,
        Says.CODE,
        # A full disk, GKE's event of a shortage, and a project that pays for calls.
        unless=r"\b(?:disk|gce|storage) quota|\bquotas? (?:\w+ ){0,3}(?:exceeded|exhausted|reached): |quota project"
        r"|retry quota\b[^.]{0,40}",
    ),
)

STOCK = (
    Pattern(
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        Cause.CAPACITY,
        Scope.ZONE,
        ("(?:the zone '?[^' ]*'? does )?not (?:have )?enough resources available to fulfill(?: the)? request",),
        "GoogleCloudPlatform/compute-image-tools#1960",
    ),
    Pattern(
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        Cause.CAPACITY,
        Scope.ZONE,
        (r"is currently unavailable in the '?[\w-]+'? zone",),
        "kubernetes/k8s.io#9834; benseverndev-oss/goldenmatch#2771",
    ),
    Pattern(
        "INSUFFICIENT_CAPACITY",
        Cause.CAPACITY,
        Scope.ZONE,
        ("(?:does not|doesn't) currently have sufficient capacity for the requested resources?",),
        _AUTOSCALER,
    ),
    Pattern(
        "TPU_CAPACITY",
        Cause.CAPACITY,
        Scope.ZONE,
        (r"no more capacity in the zone '?[\w-]*",),
        "magic-modules#7297",
    ),
    Pattern(
        "PREEMPTED_WHILE_CREATED",
        Cause.CAPACITY,
        Scope.ZONE,
        ("failed to start due to preemption",),
        _PERFKIT + "; scylladb/scylla-cluster-tests#2945",
    ),
    Pattern(
        "OUT_OF_CAPACITY",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            "requested zones? .{0,200}?(?:is|are) out of capacity",
            "due to (?:a )?lack of capacity",
            "resource pool (?:is )?exhausted",
        ),
        "PerfKitBenchmarker google_kubernetes_engine.py",
    ),
    Pattern("GCE_OUT_OF_RESOURCES", Cause.CAPACITY, Scope.ZONE, ("gce out of resources",), "GKE pod events"),
    Pattern(
        "GCE_QUOTA_EXCEEDED_EVENT",
        Cause.CAPACITY,
        Scope.ZONE,
        ("gce quota exceeded",),
        "huggingface/Google-Cloud-Containers#126",
        says=Says.CODE,  # a real quota's sentence beside it decides
        mend="The event says quota, but is also said of short shortages: if it comes back, look at the quota's usage.",
    ),
    Pattern(
        "RESERVATION_FULL",
        Cause.CAPACITY,
        Scope.PURCHASE,
        (
            "specified reservations? .{0,120}?do(?:es)? not have (?:enough |sufficient )?available resources",
            "no available resources in specified reservation",
            "all automatic reservations .{0,120}?fully consumed",
        ),
        _AUTOSCALER,
        "All machines of the reservation are in use: name another reservation and its zone, or wait with gpubench up "
        "--wait until one of its machines is free.",
    ),
    Pattern(
        "IP_SPACE_EXHAUSTED",
        Cause.CAPACITY,
        Scope.REGION,
        (
            "ip space of .{0,240}?is exhausted",
            "not enough (?:free )?ip (?:space|address)",
            "insufficient_subnet",
            "not have available (?:private )?ip space",
            "ip_space_exhausted",
            "external ip resource pool is exhausted",
            r"scale\.up\.error\.ip\.space\.exhausted",
        ),
        _AUTOSCALER + "; hashicorp/terraform-cdk#1964",
        "The address range of the subnet is used up: free some, or widen it.",
    ),
    Pattern(
        "RUN_NO_INSTANCE",
        Cause.CAPACITY,
        Scope.REGION,
        ("request was aborted because there was no available instance",),
        _RUN_DOCS,
    ),
    Pattern(
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            "resource_pool_exhausted(?:_with_details)?",
            r"\b(?:error_|gce_|gpu_)?stockout\b",
            r"\binsufficient_capacity\b",
            r"\bresource_availability\b",
            "vm_min_count_not_reached",
            r"scale\.up\.error\.out\.of\.resources",
            "reason'?: '?resource_availability",
        ),
        _SKYPILOT + "; " + _PERFKIT + "; " + _AUTOSCALER,
        says=Says.CODE,
    ),
    Pattern(
        "RESOURCE_EXHAUSTED",
        Cause.CAPACITY,
        Scope.ZONE,
        ("requested resource is exhausted",),
        "GKE node pools",
        says=Says.CODE,
    ),
    Pattern(
        "RESOURCES_INSUFFICIENT",
        Cause.CAPACITY,
        Scope.REGION,
        (
            (
                "resources? (?:is|are) (?:currently |temporarily )?(?:insufficient|exhausted|unavailable|not"
                " available) in (?:the )?(?:region|zone|location)"
            ),
        ),
        "openreview/openreview-expertise#401",
    ),
)

RIGHTS = (
    Pattern(
        "DOWNLOAD_ARTIFACTS_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"artifactregistry\.repositories\.downloadartifacts",
            "must have permission to read the image",
        ),
        "GoogleCloudPlatform/gcr-cleaner#76; cyrildiagne/basnet-http#3",
        mends.pull,
    ),
    Pattern(
        "SERVICE_DISABLED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            "api has not been used in project",
            r"or it is disabled\. enable it by",
            r"\bservice_disabled\b",
            "accessnotconfigured",
            r"should enable service\b",
            r"\bapis? (?:is|are|has|have)(?: not|n't) (?:been )?enabled",
            r"\.googleapis\.com(?: api)? is(?: not|n't) enabled",
        ),
        "GoogleCloudPlatform/emblem#757; terraform-google-project-factory#753",
        mends.api_off,
    ),
    Pattern(
        "ORGANIZATION_POLICY",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"constraints?/[a-z][\w.]+",
            "violates constraint",
            r"(?:violat\w+|blocked by|denied by) (?:an? |the )?org(?:anization)? policy",
        ),
        "GoogleCloudPlatform/compute-image-tools#1476; fortinet/fortigate-terraform-deploy#34",
        mends.policy,
    ),
    Pattern(
        "BILLING_DISABLED",
        Cause.PERMISSION,
        Scope.CLOUD,
        (
            "requires billing to be enabled",
            "linked billing account",
            "attach a billing account",
            "billing must be enabled",
            "has not configured billing",
            "billing_disabled",
            ("billing account .{0,80}?(?:is not found|is closed|is disabled|not open|not active|in good standing)"),
            "billing (?:is|to be|has been) (?:disabled|closed)",
            r"billing (?:is|has)(?: not|n't) (?:been )?enabled",
            "disabled billing",
            "billing_not_found",
            "closed billing account",
        ),
        "kyegomez/zeta#71; pgmichael/wavenet-for-chrome#83; forseti-security#1465",
        "Enable billing for the project.",
    ),
    Pattern(
        "ACCOUNT_STATE_INVALID",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            # Before NO_CREDENTIALS: the token server says invalid_grant of both.
            r"(?:\binvalid_grant\b[^.]{0,60})?\brobot is disabled",
            r"\bservice account:? \[?'?[\w.@+-]*'?\]? ?(?:is|was|has been) (?:disabled|deactivated)\b",
            "due to disabled service account",
            r"(?:\binvalid authentication credentials\b.{0,600}?)?\baccount_state_invalid\b",
        ),
        "googleapis/nodejs-tasks#252; gcloud CLI, builds of Cloud Run; googleapis, google/api/error_reason.proto",
        mends.account_off,
    ),
    Pattern(
        "NO_CREDENTIALS",
        Cause.PERMISSION,
        Scope.CLOUD,
        (
            "could not find default credentials",
            "default credentials were not found",
            r"\binvalid_grant\b",
            "invalid authentication credentials",
            "cannot fetch token: (?:4|unauth)",
            "rapt_required",
            "do not currently have an active account selected",
            "active account .{0,80}?does not have any valid credentials",
            "default credentials are not available",
            "exec: executable [a-z-]+ failed with exit code",
            "no active account",
            "reauthentication (?:failed|required|challenge|is needed)",
            "problem (?:refreshing|reauthenticating)",
            "api key (?:not valid|expired|not found)",
            r"\bapi_key_(?:invalid|expired|not_found|service_blocked|ip_address_blocked)\b",
            r"\b(?:access_token_(?:expired|type_unsupported)|credentials_missing|invalid_credential)\b",
            r"\b(?:invalid|unauthorized)_client\b",
            "failed to (?:retrieve|load) credentials",
            # kubectl, of a cluster that knows nobody by these.
            "must be logged in to the server",
            "asked for the client to provide credentials",
        ),
        "pulumi/pulumi#3482; pulumi/pulumi-gcp#479; hashicorp/terraform#27658; GoogleCloudPlatform/cloud-run-proxy#43; "
        "kubernetes/cloud-provider-gcp#498",
        "Log in: gcloud auth application-default login, or give a service account's credentials.",
    ),
    Pattern(
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            "insufficient authentication scopes",
            "access_token_scope_insufficient",
            "correct permission scopes",
        ),
        "hectorj/terraform-provider-googlesiteverification#18",
        "Give the credentials the scope https://www.googleapis.com/auth/cloud-platform.",
    ),
    Pattern(
        "SERVICE_ACCOUNT_ACCESS_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"iam\.serviceaccounts\.actas",
            "does not have access to service account",
            "service_account_access_denied",
        ),
        "google/keyword_factory#22; Compute Engine, code SERVICE_ACCOUNT_ACCESS_DENIED",
        mends.act_as,
    ),
    Pattern(
        "IAM_PERMISSION_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"required '[a-z]\w*\.[\w.]+' permission",
            r"permissions? '[a-z][\w-]*\.[\w.]+' (?:denied|is required|required)",
            "permission denied (?:on|for) '?(?:resource|project|location|service|consumer)",
            "caller does not have (?:the )?(?:required )?permission",
            r"does not have (?:the )?'?\w+\.[\w.]+'? (?:access|permission)",
            "(?:does not have|no longer has) permission",
            "action is unauthorized",
            "assume role permissions",
            "iam_permission_denied",
            "policy update access denied",
            "permissions_error",
            "is not found or access is unauthorized",
            "not found or permission denied",
            r"missing (?:the )?(?:necessary |required )?permissions?\b",
            "lacks (?:the )?permission",
            "insufficient permission",
            r"permission '?[a-z]\w*\.\w+\.\w+'? (?:denied|is required)",
        ),
        "hashicorp/terraform#15952; mitchellh/vagrant-google#163; perkeep/perkeep#943; " + _AUTOSCALER,
        mends.google_permission,
    ),
    Pattern(
        "PERMISSION_DENIED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"\bpermission_?denied\b",
            r"permission denied\b",
            r"error 403\b.{0,600}?, forbidden",
            r"\bunauthenticated\b",
        ),
        "Google API errors",
        mends.google_permission,
        Says.CODE,
    ),
    Pattern(
        "FORBIDDEN",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"\b403 forbidden\b",
            r"\b401 unauthorized\b",
            r"\b(?:error|http|httperror|status|status code|statuscode):? ?40[13]\b",
            r"\bcode=40[13]\b",
            r"\b(?:unauthorized|forbidden)\b",
            r"\bnot authorized\b",
            "(?:insufficient|missing|lacks?|needs?|without|required) (?:the |to have )?(?:[a-z]+ )?permissions?",
        ),
        "HTTP 401 and 403",
        mend=mends.google_permission,
        says=Says.WRAPPING,
    ),
    Pattern(
        "PROHIBITED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            "prohibited by (?:the |your )?organization'?s? policy",
            "do not belong to a permitted customer",
            "vpc_service_controls",
            r"\blocation_(?:org_|tax_)?policy_violated\b",
            "vpc service controls",
            "security_policy_violated",
        ),
        "Google API errors, reasons",
        mend=mends.perimeter,
    ),
    Pattern(
        "PROHIBITED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            "consumer_(?:suspended|invalid)",
            "project .{0,80}?not found or deleted",
            "project_deleted",
            "user_project_denied",
            (
                "project [^.]{0,60}(?:has been|is) (?:suspended|deleted|shut down|scheduled for deletion|pending"
                " deletion)"
            ),
        ),
        "Google API errors, reasons",
        mend=mends.project_off,
    ),
    Pattern(
        "PROHIBITED",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            "cannot (?:create|get|list|update|delete|patch|watch) resource '",
            "is forbidden: user ",
            "service account (?:doesn't|does not) have access",
            "does not allow access to the requested resource",
            "admission webhook '[^']*' denied the request",
        ),
        "Kubernetes RBAC; kubernetes/community#2556; GoogleCloudPlatform/continuous-deployment-on-kubernetes#30",
        mend=mends.google_permission,
    ),
)

REQUESTS = (
    Pattern(
        "RESERVATION_NOT_FOUND",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "specified reservations? .{0,120}?do(?:es)? not exist",
            "there is no automatic reservation matching",
            "reservation .{0,120}?is incorrect for the requested",
            "reservation must exist in the same project",
        ),
        _AUTOSCALER,
        "Name a reservation that exists in this project and zone and has this shape.",
    ),
    Pattern(
        "RESERVATION_NOT_READY",
        Cause.TRANSIENT,
        Scope.ZONE,
        ("requires reservation to be in ready state",),
        _AUTOSCALER,
    ),
    Pattern(
        "LIVE_MIGRATION",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        ("guest accelerators do not support live migration",),
        "loft-sh/devpod#973; iterative/cml#1398",
        mend="A machine with GPUs needs onHostMaintenance TERMINATE.",
    ),
    Pattern(
        "INCOMPATIBLE_FEATURES",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        ("features are not compatible for creating instance",),
        "DataBiosphere/dsub#301",
        mend="The text names a pair, of a disk and a machine type for instance, that goes together in no "
        "zone: change one.",
    ),
    Pattern(
        "UNSUPPORTED_UPDATE",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "cannot be used when updatepolicy type",
            "you cannot specify a ",
            "cannot create local ssd as persistent",
            "expected one network interface",
        ),
        "hail-is/hail#11878; kubernetes/autoscaler",
        "Correct what the text names.",
    ),
    Pattern(
        "DELETION_PROTECTION",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        ("deletion_?protection",),
        "terraform-provider-google",
        "Set deletion protection to false, update, and try again.",
    ),
    Pattern(
        "ALREADY_EXISTS",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "already exists",
            r"\balready_?exists(?:exception|fault)?\b",
        ),
        "scylladb/scylla-machine-image#184; GoogleCloudPlatform/agent-starter-pack#196",
        mends.TAKEN,
        Says.CODE,
    ),
    Pattern(
        "ALREADY_EXISTS",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        ("the resource '[^']*' already exists",),
        "terraform-provider-google, HTTP 409",
        "Something with this name is there already, left over or somebody else's: remove it, or "
        "import it into the stack.",
    ),
    Pattern(
        "alreadyExists",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (r"service account [\w.@-]+ already exists within project",),
        "hashicorp/terraform-provider-google#19112; GoogleCloudPlatform/marketing-analytics-jumpstart#200",
        mends.TAKEN,
    ),
    Pattern(
        "UNTRUSTED_CERTIFICATE",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "certificate signed by unknown authority",
            "certificate verify failed",
            "failed to verify certificate",
            "self[- ]signed certificate",
            "unable to get (?:local )?issuer certificate",
            "certificate has expired",
            "certificate is not (?:trusted|valid)",
            "pkix path building failed",
            "valid certification path",
        ),
        "leg100/otf#696; hashicorp/go-tfe#172; Go's and Python's TLS errors",
        "Whoever calls doesn't trust the certificate: make a proxy's or the registry's own authority known to it, and "
        "check its clock.",
    ),
    Pattern(
        "INVALID_FIELD_VALUE",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "invalid value for field",
            "invalid field selection",
            r"\binvalid_(?:field_value|usage|argument)\b",
            r"\bunsupported_operation\b",
            r"\bunimplemented\b",
            r"error 400: .{0,400}?, (?:invalid|badrequest)\b",
            "argument --[a-z-]+:",
        ),
        "googleapis/google-cloud-java#915; openshift/installer#7096",
        "Correct the field that the text names.",
        Says.CODE,
    ),
    Pattern(
        "NOT_SUPPORTED",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            r"\bversion '?[\w.-]+'? is (?:unsupported|not supported|invalid)",
            "invalid value specified for",
            "custom machine type with name '[^']*' does not exist",
            "location '[^']*' does not exist",
            "do(?:es)? not support onhostmaintenance",
            "onhostmaintenance be one of",
        ),
        "stefanprodan/istio-gke#11; GoogleCloudPlatform/community#2105; elotl/kip#148",
        mend="Correct what the text names: it holds for every place.",
    ),
    Pattern(
        "INVALID_ARGUMENT",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "the resource '[^']*' was not found",
            r"failed to find (?:project|network|zone|region|cluster)\b",
            r"\bfailed_?precondition\b",
            r"\binvalid_?argument\b",
            "invalid resource field value",
            r"missing (?:a )?required (?:\w+ )?(?:field|parameter|argument|property|attribute|key)",
            (
                "required (?:field|parameter|argument|property|attribute)s? [^.]{0,80}?(?:is|are|was|were)"
                " (?:missing|not (?:set|specified|provided))"
            ),
            r"error 40[049]: .{0,400}?, (?:invalid|badrequest|notfound|invalidparameter|required|parseerror)\b",
        ),
        "Google API errors",
        mend="Correct what the text names.",
        says=Says.CODE,
        # A VM that is gone doesn't say why: dragonflydb/dragonfly#8155; googleapis/nodejs-compute#377.
        unless=r"/instances/[^' ]*' ?was not found",
    ),
    Pattern(
        "WRONG_INPUT",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            (
                "(?:must|should) (?:not )?be (?:configured|defined|regional|zonal|enabled|disabled|positive|more"
                " than|one of|between|less than|greater than|lower than|higher than|larger than|smaller than|at"
                r" least|at most|specified|set\b|provided|a valid|unique|a multiple|empty|no more than|in the"
                " (?:range|form|same))"
            ),
            (
                "must (?:specify|match|contain|have|begin|start|end|support|include|provide|use) (?:a|an|the|one"
                r"|at|either|only|exactly|with)\b"
            ),
            "do(?:es)?(?: not|n't) support",
            r"(?:is|are) not supported\b",
            "not supported (?:for|with|by) ",
            "(?:can ?not|can't|may not|must not) be (?:used|combined|specified|set|empty|blank|null|mixed)",
            (
                r"(?:invalid|unknown|unrecognized|unsupported|unexpected|malformed) (?:\w+ ){0,2}(?:value|parameter"
                "|argument|field|option|flag|attribute|property|format|configuration|combination|choice|request"
                r"|input|type|zone|region|location|name)s?\b"
            ),
            r"(?:is|are) (?:not (?:a )?valid|invalid)\b",
            r"\bvalidation (?:failed|error)\b",
            r"is (?:unsupported|not allowed|mandatory)\b",
            "field is empty",
            "can be attached to",
            "can ?not be (?:smaller|larger|attached)",
            "can ?not attach",
            "must match",
            "must be an? (?:number|integer|string|valid)",
            "duplicate (?:key|name)",
            r"is not an? (?:\w+ )?(?:region|availability zone|instance type)",
            "(?:must be|have to be) (?:within|specified)",
            "only supported (?:on|in|for|with)",
            "(?:object|bucket) does not exist",
            "exceeds? the (?:maximum|limit)",
            r"response code 40[04]\b",
            "resourceinusebyanotherresource",
            r"\b(?:resource_not_found|resource_already_exists|out_of_range)\b",
            "referenced [^.]{1,60}? (?:cannot be|was not|is not) found",
            (
                "(?:network interface|capacity provider|launch configuration|target group|cluster)s? (?:name )?"
                "(?:was )?not found"
            ),
            "flag provided but not defined",
            "reserved env names",
            "requires cpu always allocated",
            "reference to undeclared",
            "(?:network|subnetwork) '[^']{1,120}' (?:was|is) not found",
            r"\bno matches for kind\b",
            r"\bnamespaces '[^']{1,80}' not found",
            r"invalid '\w+' setting",
            "provider produced inconsistent",
            "query available provider packages",
            "error parsing config",
            r"\byaml: (?:line|unmarshal)",
            "conflicting configuration",
            "can ?not specify both",
            r"\bto be one of\b",
            r"(?:argument|field|parameter|property|attribute|value) '?[\w.]*'? is required",
        ),
        "Google and Amazon API errors",
        mend="Correct what the text names.",
        says=Says.CODE,
        unless="could not be satisfied or the configuration is not valid",
    ),
    Pattern(
        "BAD_REQUEST",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            r"\b400 bad request\b",
            r"\bcode=400\b",
            r"\b(?:error|status|status code|statuscode|http|httperror):? ?\[?400\b",
            r", (?:badrequest|invalid)\b",
        ),
        "Google and Amazon API errors",
        mend="Correct what the text names.",
        says=Says.WRAPPING,
    ),
)

PASSING = (
    Pattern(
        "RESOURCE_NOT_READY",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            "the resource '[^']*' is not ready",
            r"\bresource_?not_?ready\b",
        ),
        "GoogleCloudPlatform/gke-migration-to-containers#63",
        # An AWS SDK whose patience is over: umotif-public/terraform-aws-ecs-fargate#52.
        unless="resourcenotready: (?:exceeded wait|failed waiting)",
    ),
    Pattern(
        "OPERATION_IN_PROGRESS",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            (
                "(?:operation|activation|deactivation|change|update|upgrade|deployment) (?:is )?(?:already "
                "|currently |still )*in progress"
            ),
            "locked by another",
            "underlying data changed",
            "cross-transaction contention",
            "too much contention",
            "too many concurrent",
            "unable to queue the operation",
        ),
        "GoogleCloudPlatform/magic-modules error_retry_predicates.go",
    ),
    Pattern(
        "OPERATION_IN_PROGRESS",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            "running incompatible operation",
            "operation .{0,120}?is (?:currently|already) (?:in progress|upgrading|creating)",
            "there (?:is|was) a conflict",
            "concurrent policy changes",
            "try again once it is done",
        ),
        "terraform-provider-google, HTTP 409",
        says=Says.CODE,
    ),
    Pattern(
        "INTERNAL_ERROR",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            r"\binternal error\b",
            r"\binternal[_ ]failure\b",
            r"\bbackend ?error\b",
            "service is currently unavailable",
            r"\bcode ?= ?unavailable\b",
            r"\bservice unavailable\b",
            r"\bserver unavailable\b",
            r"\bbad gateway\b",
            r"\bgateway time-?out\b",
            r"\binternal server error\b",
        ),
        "ZcashFoundation/zebra#6451; hashicorp/packer-plugin-googlecompute#104; " + _PERFKIT,
        says=Says.WRAPPING,
    ),
    Pattern(
        "UNAVAILABLE",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            (
                "(?:service|server|backend|endpoint|api)(?: is)? (?:temporarily|currently) (?:unavailable"
                "|overloaded|unable)"
            ),
            r"\b(?:server|backend|transient) ?(?:exception|error)\b",
            "most likely a transient error",
            r"\b(?:error|http|httperror|status|status code|statuscode):? ?50[0234]\b",
            r"\b(?:500|502|503|504) (?:internal|bad|service|server|gateway|backend)",
            r"\bcode ?= ?(?:deadlineexceeded|aborted|unavailable|internal)\b",
            "context deadline exceeded",
            r"\bcode: '?13\b",
            r"'code': '?13\b",
            r"please (?:try again|retry) in (?:a few|\d+) (?:second|minute)s",
            r"\boperation was aborted",
            "(?:request|operation) (?:timed out|timeout)",
            "please retry",
            r"(?:after|returned|received|responded with)(?: an?)?(?: http| status| code)* (?:429|50[0234])\b",
            r"\btemporary (?:failure|error|issue|problem|outage)\b",
            r"(?:service|server|api) (?:is )?unavailable\b",
            r"_(?:lookup|status|check|backend)_unavailable\b",
            r"\bcode: '?14\b",
            r"\brst_stream\b",
            "error reading from server",
            "operation was cancell?ed",
            r"\bstatus: '?aborted\b",
            r"\baborted: ",
            "metadata server (?:is not responding|unavailable|is unavailable)",
            "not (?:yet )?fully initialized",
            "technical difficulties",
            "is overloaded",
            "deadline[ _](?:exceeded|expired)",
            "conflicting operation",
            "object has been modified",
            r"\betcdserver: ",
            "return a response in the time allotted",
            "higher than normal load",
            "bad record mac",
            r"error from server \(timeout\)",
            "failed to retrieve http://metadata",
            "failed to (?:create|set ?up) pod sandbox",
            "had to be aborted",
        ),
        "vmware-archive/terraforming-gcp#65; Google API errors",
        says=Says.WRAPPING,
    ),
    Pattern(
        "UNAVAILABLE",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            r"(?:try|trying) again (?:later|shortly|in (?:a|some|few|several|\d+) )",
            r"please try again\b",
        ),
        "vmware-archive/terraforming-gcp#65; Google API errors",
        says=Says.WRAPPING,
        # Try again, but otherwise.
        unless=r"\b(?:check|correct|fix|verify|change|choose|select|specify|provide|update|different)\b[^.]{0,90}"
        r"try again\b|try again (?:with|after) ",
    ),
)

PREEMPTIONS = (
    Pattern(
        "PREEMPTED",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            (
                r"(?:\b(?:vm|instance|node|machine|worker)s?\b[^.]{0,80}?(?:was|were|has been|got|is being)"
                " preempted)"
            ),
            r"compute\.instances\.preempted",
            "preempted during run time",
            "preemptionbyscheduler",
            "preempted by the system",
        ),
        "thought-machine/spot-interruption-exporter; broadinstitute/cromwell#7457",
    ),
    Pattern(
        "BATCH_PREEMPTED",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (r"exit (?:code|status):?'? \(?5000[12346]\b",),
        "nextflow-io/nextflow#6690",
    ),
    Pattern(
        "HOST_ERROR",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            r"compute\.instances\.(?:hosterror|terminateonhostmaintenance)",
            "terminated (?:due to|for) host maintenance",
            "terminateonhostmaintenance",
        ),
        "Compute Engine docs, host events",
    ),
    Pattern(
        "PREEMPTED",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            r"\bpreempted\b",
            "preemption (?:notice|event|signal|warning)",
            "(?:spot|vm|instance|node|machine|worker)s?(?: vm)? preemption",
            "(?:due to|because of|caused by) (?:a |spot |vm )*preemption",
        ),
        "thought-machine/spot-interruption-exporter; broadinstitute/cromwell#7457",
        says=Says.CODE,
        unless=r"\bjob preempted",  # by another job, in a batch system's queue: cBio/cbio-cluster#188
    ),
    Pattern(
        "NODE_SHUTDOWN",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            r"\bnode_?shutdown\b",
            "imminent node shutdown",
            "node (?:is|was) (?:in progress of )?shut(?:ting)? ?down",
            "node is shutting, evicting",
            "in response to (?:imminent )?node shutdown",
            r"\bnode_fail\b",
            r"\bnode (?:is )?lost\b",
            "node no longer exists",
            "worker node was lost",
            "hardware failure",
            r"\bdeletionby(?:podgc|taintmanager)\b",
            "taintmanager",
            "due to (?:node failure|node preemption)",
        ),
        "capactio/capact#679; kubelet, graceful node shutdown",
    ),
    Pattern(
        "STOPPED_UNEXPECTEDLY",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            (
                r"\b(?:vm|instance|node|machine)s?\b[^.]{0,60}?(?:stopped|shut ?down|shutdown|terminated|rebooted"
                "|restarted|disappeared|deleted|removed) unexpectedly"
            ),
            (
                r"\b(?:vm|instance|node|machine)s?\b[^.]{0,40}?unexpectedly (?:stopped|shut ?down|terminated"
                "|rebooted|deleted|disappeared)"
            ),
            "vm reporting timeout",
            "vm ?re(?:booted|created) ?during",
            "shut ?down by the provider",
            "spot (?:node|vm|machine) was taken",
            "worker (?:was|has been) terminated",
            "assigned worker has failed",
        ),
        "broadinstitute/cromwell#744; DataBiosphere/dsub#42; Batch's reserved exit codes",
        says=Says.CODE,
    ),
    Pattern(
        "HOST_ERROR",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            r"\bhost error\b",
            r"\bhosterror\b",
            "(?:host|scheduled|infrastructure) maintenance(?: event)?",
            "(?:terminated|stopped|rebooted|restarted) (?:during|for|due to) (?:a |host )*maintenance",
            "(?:underlying|host) (?:hardware|machine|host) (?:failure|failed|error|degradation|is degraded)",
            "(?:scheduled for|instance) retirement",
            "automatically (?:restarted|terminated) by compute engine",
        ),
        "Compute Engine docs, host events; EC2 docs, scheduled events",
        says=Says.CODE,
    ),
)
