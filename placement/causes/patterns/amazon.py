"""Amazon: EC2, Auto Scaling, ECS."""

from __future__ import annotations

from placement.causes import mends
from placement.causes.model import Cause, Scope
from placement.causes.patterns.model import Pattern, Says

_SHORTAGES = "aws/amazon-sagemaker-feedback#99; GoogleCloudPlatform/DataflowTemplates#993; karpenter-provider-aws"
_NOT_OF_MACHINES = (
    r"\b(?:queue|buffer|disk|storage|cache|log|shard|stream|channel|thread|database|table|read|write|throughput"
    r"|bucket|heap"
    r"|vector|memory|warehouse|topic|partition|volume|index|connection|license|workspace) (?:\w+ ){0,4}capacity"
    r"|capacity (?:in|of|on|for) (?:the |this |your )?(?:queue|buffer|cache|vector|heap|bucket|disk|stream|table"
    r"|warehouse|volume)"
    r"|for shard"
)

_EC2 = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html"
_KARPENTER = "karpenter-provider-aws pkg/errors/errors.go"
_SPOT = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html"
_ECS = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html"

WAITING = (
    Pattern(
        "pending-evaluation",
        None,
        Scope.ZONE,
        (
            "pending-evaluation",
            "pending-fulfillment",
            "request has been submitted for review",
        ),
        "cloudfoundry/bosh#2399",
    ),
    Pattern("fulfilled", None, Scope.ZONE, ("your spot request is fulfilled",), _SPOT),
    Pattern("steady-state", None, Scope.REGION, ("has reached a steady state",), _ECS),
)

RATE_LIMITS = (
    Pattern(
        "RequestLimitExceeded",
        Cause.TRANSIENT,
        Scope.PROJECT,
        (
            r"\brequestlimitexceeded\b",
            "request limit exceeded",
            "(?:has|have|is|are|was|were) (?:been |being )?throttled",
            r"\bthrottling(?:exception)?\b",
            "rate exceeded",
            "toomanyrequestsexception",
            r"\bbandwidthlimitexceeded\b",
            r"\bprovisionedthroughputexceeded(?:exception)?\b",
            r"\b(?:ec2|request)?throttled(?:exception)?\b",
        ),
        "CloudSnorkel/cdk-github-runners#946; aws/aws-cli#8604",
    ),
)

OFFERS = (
    Pattern(
        "Unsupported",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        (
            r"not supported in (?:your|the) requested availability zone:? ?(?:\([\w-]+\))?",
            "availability zone is (?:no longer supported|currently constrained)",
        ),
        "firesim/firesim#872; chef/knife-ec2#51",
    ),
    Pattern(
        "Unsupported",
        Cause.NOT_OFFERED,
        Scope.REGION,
        (
            "requested configuration is currently not supported",
            (
                "instance types? .{0,80}?(?:is|are) not (?:supported|available) in (?:this|the|your) (?:requested"
                " )?region"
            ),
            "supplied instance types do not exist",
        ),
        "hashicorp/terraform-provider-aws#9113; " + _EC2,
    ),
    Pattern(
        "Unsupported",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        (
            r"\(unsupported\)",
            r"\bunsupported(?: =>|:| -) '?(?:your|the|this)\b",
            r"error ?code'?: '?unsupported\b",
        ),
        _KARPENTER,
        says=Says.CODE,
    ),
)

QUOTAS = (
    Pattern(
        "VcpuLimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        (r"current vcpu limit of \d+",),
        "firesim/firesim#410; aws/amazon-cloudwatch-agent-test#256",
        mends.vcpu,
    ),
    Pattern(
        "VcpuLimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        ("vcpulimitexceeded",),
        _KARPENTER,
        mend=mends.vcpu,
        says=Says.CODE,
    ),
    Pattern(
        "MaxSpotInstanceCountExceeded",
        Cause.QUOTA,
        Scope.REGION,
        (
            "maxspotinstancecountexceeded",
            "max spot instance count exceeded",
        ),
        "NixOS/nixops-aws#41; " + _KARPENTER,
        mends.spot_vcpu,
    ),
    Pattern(
        "InstanceLimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        (
            r"\binstancelimitexceeded\b",
            r"requested more instances \(\d+\) than your current instance limit",
            "your quota allows for 0 more running instance",
            "limit (?:of .{0,40}?)?on the number of vcpus",
            r"instance\(s\) are already running",
            "is above your limit",
            r"limit of \d+ (?:\w+ )?reached",
            r"account limit\b",
            r"has a limit of \d",
            r"vcpu limit\b",
        ),
        _EC2,
        mends.vcpu,
    ),
    Pattern(
        "LimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        (
            (
                r"\b(?:vpc|keypair|address|volume|maxiops|securitygroup|launchtemplate|servicequota"
                r"|spotfleet|snapshot|host|networkinterface|placementgroup|routetable|subnet)?limitexceeded(?:exception)?\b"
            ),
            r"\b(?:servicequotaexceeded|maxfleetcountexceeded)(?:exception)?\b",
            "you(?:'ve| have) reached the limit on",
        ),
        _EC2,
        "Remove what isn't needed any more, or ask for more: aws service-quotas request-service-quota-increase.",
        Says.CODE,
    ),
    Pattern(
        "LimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        (
            r"\b[a-z]{2,60}limitexceeded(?:exception)?\b",
            r"\bvolumeiopslimit\b",
            r"\btoomanyinstances\b",
        ),
        "EC2 API, client error codes",
        "Remove what isn't needed any more, or ask for more: aws service-quotas request-service-quota-increase.",
        Says.WRAPPING,
        unless=r"\b(?:request|rate|bandwidth|backoff|time|memory|throttl)\w*limitexceeded",
    ),
    Pattern(
        "ResourceLimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        (
            "account-level service limit",
            r"\btoomany(?:loadbalancers|hostedzones|targetgroups|buckets)\b",
            r"\bresourcelimitexceeded(?:exception)?\b",
            "you(?:'ve| have)? (?:reached|exceeded|hit) (?:the|your) (?:maximum|limit|quota|account)",
            r"(?:maximum|max) number of [\w -]{1,60}(?:has been|was|have been|is) (?:reached|exceeded)",
            "increase for this (?:limit|quota)",
            "exceeds? the maximum number (?:allowed|permitted)",
            "(?:contact|ask) aws support to (?:request an )?increase",
        ),
        "data-science-on-aws/data-science-on-aws#200; aws-cloudformation/cfn-lint#306; " + _EC2,
        mend="Remove what isn't needed any more, or ask for more: aws service-quotas request-service-quota-increase.",
        unless="number of (?:attempt|retr|tr(?:y|ies)|request|redirect|restart|iteration|step|epoch|token|connection)",
    ),
)

STOCK = (
    Pattern(
        "InsufficientInstanceCapacity",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            (
                r"do not have sufficient '?[\w.-]+'? capacity(?: in the availability zone you"
                r" requested \([\w-]+\))?"
            ),
        ),
        "openshift/installer#7088; danvk/mapsnap#432",
    ),
    Pattern(
        "no-spot-capacity",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            "no spot capacity available",
            "cannot provision any more instances",
        ),
        _EC2,
    ),
    Pattern(
        "UnfulfillableCapacity",
        Cause.CAPACITY,
        Scope.REGION,
        (
            "unfulfillablecapacity",
            "unable to fulfill capacity due to your request configuration",
        ),
        "mludvig/aws-ethereum-miner#23; " + _KARPENTER,
        says=Says.SENTENCE,
    ),
    Pattern(
        "capacity-oversubscribed",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            r"(?:^|[^\w-])capacity-oversubscribed\b",
            "no more unused capacity available in this pool",
        ),
        "AlexsLemonade/refinebio#528",
    ),
    Pattern(
        "SpotMaxPriceTooLow",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            "spotmaxpricetoolow",
            r"spot price is \S+ which is greater than the (?:configured )?max price",
            "lower than the minimum required spot request fulfillment price",
            r"(?:^|[^\w-])price-too-low\b",
        ),
        "kubermatic/machine-controller#1754; hashicorp/packer#7808",
        "The price limit is below the market's price: raise it, or leave it out.",
    ),
    Pattern(
        "ReservationCapacityExceeded",
        Cause.CAPACITY,
        Scope.PURCHASE,
        (
            "reservationcapacityexceeded",
            "does not have sufficient compatible and available capacity",
            "insufficientreservedinstancecapacity",
            "not enough available reserved instances",
        ),
        "scylladb/scylla-cluster-tests#8839; " + _KARPENTER,
    ),
    Pattern(
        "InsufficientFreeAddressesInSubnet",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            "insufficientfreeaddressesinsubnet",
            "not (?:have )?enough free addresses",
            "failed to assign an ip address",
            "insufficient ?cidr ?blocks",
            "(?:no|not enough|insufficient) (?:free |available )?(?:private )?ips? ?(?:address(?:es)? )?available",
            "insufficient free ips",
        ),
        _KARPENTER,
        "The subnet has no free addresses: free some, or use a larger one.",
    ),
    Pattern(
        "FargateCapacity",
        Cause.CAPACITY,
        Scope.ZONE,
        ("capacity is unavailable at this time",),
        "aws/containers-roadmap#2034; sil-org/ecs-deploy#277",
    ),
    Pattern(
        "RESOURCE",
        Cause.CAPACITY,
        Scope.REGION,
        (
            r"\bresource:(?:gpu|cpu|memory|ports|eni)\b",
            "has insufficient (?:cpu units|memory|gpus?) available",
        ),
        "apache/airflow#22255; amazon-ecs-agent#3852",
        says=Says.CODE,
    ),
    Pattern(
        "InsufficientInstanceCapacity",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            r"insufficient(?:instance|host|volume|address|reservedinstances)?capacity(?:onhost|exception|error)?\b",
            r"\binsufficient (?:instance|host|spot|ec2) capacity",
            r"(?:^|[^\w-])capacity-not-available\b",
            r"\bconstraint-not-fulfillable\b",
            r"\b(?:az|launch|placement)-group-constraint\b",
        ),
        _KARPENTER + "; aws-parallelcluster; " + _SPOT,
        says=Says.CODE,
    ),
    Pattern(
        "NoContainerInstances",
        Cause.CAPACITY,
        Scope.REGION,
        (
            "no container instances? (?:were|was) found in your",
            "unable to place a task because no container instance",
        ),
        "aws-samples/amazon-scalable-infra-discord-diffusion#3; " + _ECS,
        "The group launched no machine; its scaling activities say why: aws autoscaling describe-scaling-activities.",
        Says.WRAPPING,
    ),
    Pattern(
        "InsufficientCapacity",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            (
                "insufficient(?:[ _-](?:instance|host|ec2|spot|on-demand|reserved|compute|gpu|machine|server"
                "|hardware|cloud|regional|zonal))*[ _-]?capacity(?:error|exception)?"
            ),
            r"\bcapacityerror\b",
            (
                r"unable to (?:provision|obtain|acquire|allocate|get|provide|launch) (?:the )?(?:requested )?(?:\w+"
                " ){0,3}capacity"
            ),
        ),
        "aws/amazon-sagemaker-feedback#99; m2lines/Samudra#866; SageMaker, failure reasons",
        says=Says.CODE,
        # DynamoDB's, and what is no machine.
        unless="insufficient capacity units|(?:queue|stream|table|disk|warehouse|volume) ha[sd] insufficient capacity",
    ),
    # In other words. What is short must be machines: queues, disks and pools have a capacity, too.
    Pattern(
        "SHORTAGE",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            (
                "(?:instance|accelerator|gpu|tpu|hardware|offering|machine type|vm type)s?(?: types?)?"
                r" ?'?[\w.-]*'?(?: \w+){0,2}? (?:is|are|was|were) (?:currently |temporarily |all )*(?:unavailable"
                "|exhausted|constrained|not available (?:at (?:the|this)|right now|currently))"
            ),
            r"\b(?:sold out|out of stock|out of capacity)\b",
            "were unavailable during launch",
        ),
        _SHORTAGES,
        says=Says.CODE,
    ),
    Pattern(
        "SHORTAGE",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            (
                r"(?:not|n't) (?:have |find |currently have )*(?:enough|sufficient) (?:available |free |spare |\w+"
                r" )?(?:capacity|resources|servers|gpus|machines|hosts|accelerators|instances)\b(?: available|"
                " (?:are |is )?currently available| for| in | to )"
            ),
            (
                "insufficient (?:available |free )?(?:resources|gpus?|hardware) (?:available )?in (?:the )?(?:zone"
                "|region)"
            ),
            (
                "do(?:es)?(?: not|n't) (?:currently )?have (?:enough |sufficient )(?:available )?(?:capacity"
                r"|resources)\b"
            ),
        ),
        _SHORTAGES,
        says=Says.CODE,
        unless=_NOT_OF_MACHINES,
    ),
    Pattern(
        "SHORTAGE",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            r"no (?:\w+ ){0,2}capacity (?:is |was |currently )*(?:available|left|remaining|in|for)",
            (
                "capacity (?:is |was )(?:currently |temporarily )*(?:not available|unavailable|exhausted"
                "|insufficient|constrained)"
            ),
            r"capacity (?:shortage|constraints?)\b",
            (
                r"(?:lack of|\bout of|shortage of) (?:(?:available|free|spare|spot|gpu|compute|instance|host|ec2"
                r"|[\w.-]*\d[\w.-]*) )*capacity"
            ),
            "(?:obtain|acquire|secure) capacity",
            r"timed? ?-?out (?:while )?waiting for (?:(?:available|enough|spot|gpu|compute|instance) )*capacity\b",
            (
                r"capacity (?:of|in) (?:the|this|that) (?:\w+ ){0,2}(?:zone|region|location"
                r"|datacenter)(?: [\w-]*\d[\w-]*)? (?:is|was|has)"
                " (?:been )?(?:currently |temporarily )?(?:exhausted|insufficient|exceeded|full|reached|constrained)"
            ),
            r"\b(?:zones?|regions?|data ?centers?) (?:is|are) (?:currently )?(?:at (?:full )?capacity"
            r"|exhausted)\b",
            "at capacity for",
        ),
        _SHORTAGES,
        says=Says.CODE,
        unless=_NOT_OF_MACHINES,
    ),
    Pattern(
        "SHORTAGE",
        Cause.CAPACITY,
        Scope.ZONE,
        (
            (
                r"no (?:available|(?:available )?spot|[\w.-]*\d[\w.-]*) (?:gpu|tpu|instance|machine|accelerator"
                r"|vm)s?\b(?: (?:is |are )?available| in )"
            ),
            "no (?:available|more|healthy) (?:gpu|tpu|accelerator|zone|region|machine|server|instance)s",
            (
                r"no (?:[\w.-]+ )?(?:gpu|tpu|accelerator|runtime|instance|machine|node|server|vm)s? (?:is |are )?"
                "(?:currently |presently )?available (?:right now|now|at (?:this|the) (?:time|moment)|currently|in)"
            ),
            (
                r"(?:no available|no more|out of|(?:couldn't|could not|can't|cannot) find any available)"
                r" (?:[a-z][\w-]*\d[\w.-]* )?(?:nodes with|(?:gpu |spot |compute )?"
                r"(?:instance|machine|gpu|accelerator)s)\b"
            ),
            (
                r"all (?:[\w.-]+ ){0,3}(?:gpu|machine|instance|server|accelerator)s (?:are|were) (?:currently )?"
                "(?:in use|taken|occupied)"
            ),
            r"(?:no|insufficient|not enough|out of) (?:[\w.-]+ )?inventory\b",
            (
                r"(?:gpu|tpu|vm|instance|machine|accelerator|hardware|node)\w*\b.{0,60}?"
                r" (?:not available|unavailable) in [^.]{0,80}?(?:right now|at (?:this|the) (?:time|moment)\b)"
            ),
            (
                "(?:unable to|failed to|could not|cannot|can't) (?:allocate|acquire|obtain|secure|reserve)"
                " (?:(?:the|any|enough|sufficient|requested|required|available|compute|spot|gpu) )*"
                r"(?:gpus?|accelerators?|tpus?|hardware|compute resources)\b"
            ),
            (
                "insufficient (?:compute|hardware|gpu|cloud|zonal|regional|host|machine) resources"
                "|insufficient resources (?:available )?to (?:fulfill|satisfy|complete|provision|launch|start|create)"
            ),
            "(?:experiencing|because of|due to) (?:very |unusually )?high demand",
            "experiencing a (?:stock-?out|shortage)",
            "unable to fulfill? your (?:spot )?request",
            "failed to acquire resources in",
            (
                "resources (?:are )?(?:currently )?(?:unavailable|not (?:currently )?available) in (?:the"
                r" )?(?:zone|region|[a-z]+-[a-z]+\d)"
            ),
        ),
        _SHORTAGES,
        says=Says.CODE,
        unless=r"nodes? (?:is|are) available: [^.]{0,120}|gpu (?:memory|buffer|device)|no cuda gpus?",
    ),
)

RIGHTS = (
    Pattern(
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        Cause.PERMISSION,
        Scope.CLOUD,
        (
            "servicelinkedrolecreationnotpermitted",
            "authfailureservicelinkedrolecreationnotpermitted",
            "permission to create the service-linked role",
        ),
        "LeanerCloud/AutoSpotting#187; terraform-aws-modules/terraform-aws-eks#2670",
        "Once for the account: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
    ),
    Pattern(
        "PendingVerification",
        Cause.PERMISSION,
        Scope.CLOUD,
        (
            r"\bpendingverification\b",
            "accessing resources in this region is being validated",
        ),
        "galaxyproject/cloudlaunch#172",
        "AWS is checking the account for this region; that ends by itself, or by a ticket to AWS Support.",
    ),
    Pattern(
        "OptInRequired",
        Cause.PERMISSION,
        Scope.CLOUD,
        (
            r"\boptinrequired\b",
            "not subscribed to this service",
            "need to accept terms and subscribe",
            "account is (?:currently )?(?:blocked|suspended)",
            r"\(blocked\)",
            r"\bblocked: ",
        ),
        _EC2,
        "The account isn't signed up for this: accept the terms that the text names, or ask AWS Support.",
    ),
    Pattern(
        "FreeTier",
        Cause.PERMISSION,
        Scope.CLOUD,
        ("not eligible for free tier",),
        "nilbuild/developer-roadmap#10171",
        mend="The account is on the free plan, which has no GPUs: upgrade it to a paid plan.",
    ),
    Pattern(
        "ExpiredToken",
        Cause.PERMISSION,
        Scope.CLOUD,
        (
            r"\bexpiredtoken(?:exception)?\b",
            "security token included in the request is (?:expired|invalid)",
            (
                r"\b(?:requestexpired|invalidclienttokenid|invalidclienttoken|unrecognizedclientexception"
                r"|signaturedoesnotmatch)\b"
            ),
            "not able to validate the provided access credentials",
            "no valid credential sources",
            r"\bmissingauthenticationtoken(?:exception)?\b",
            r"\binvalid(?:accesskeyid|identitytoken(?:exception)?|securitytoken)\b",
            "unable to load (?:aws )?credentials",
            "no ec2 imds role found",
            "partial credentials found",
            r"\bparse config file: \S*\.aws/",
            "request signature we calculated does not match",
            "signature expired",
            r"\binvalidsignature(?:exception)?\b",
            "access key id needs a subscription",
            "not signed up for",
            "no openidconnect provider",
            "provided token is malformed",
            "nocredentialproviders",
            "unable to (?:locate|find) (?:aws )?credentials",
            "sso session .{0,60}?(?:expired|invalid)",
            "error loading sso token",
            "config profile .{0,80}?could not be found",
            r"\bincompletesignature(?:exception)?\b",
            "service token expired",
            "failed to refresh cached credentials",
            "token (?:has )?expired and refresh failed",
        ),
        "pulumi/pulumi-aws#2560; aws-samples/aws-iot-twinmaker-samples#147",
        "Log in again: aws sso login, or set the credentials anew; aws sts get-caller-identity shows whose are used.",
    ),
    Pattern(
        "UnauthorizedOperation",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"\bunauthorizedoperation\b",
            "you are not authorized to perform this operation",
        ),
        "Coalfire-Research/npk#148; CheckPointSW/Cuckoo-AWS#21",
        mends.aws_permission,
    ),
    Pattern(
        "ecr:BatchGetImage",
        Cause.PERMISSION,
        Scope.PROJECT,
        (r"not authorized to perform:? ecr:\w+",),
        "amazon-ecs-agent; " + _ECS,
        mends.ecr_pull,
    ),
    Pattern(
        "AccessDenied",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            (
                "(?:is|are)(?: not|n't) authorized to (?:perform|call|launch|use|access|assume|create|run|pass|tag"
                r"|describe)\b"
            ),
            r"\bnot authorized to perform:? [a-z0-9-]+:",
            r"\bno [a-z -]{3,40} polic(?:y|ies) allows?\b",
            "inaccessible (?:aws )?kms key",
            r"invalidkmskey\b",
            "credentials (?:are )?insufficient for",
            "explicit deny in an? (?:service control|identity-based|resource-based)",
            "permissions boundary allows",
            "encoded authorization failure",
            "need to be authorized to call",
            "cross-account pass role",
            r"\(40[13]\) when calling the",
            "not authorized for images?",
            "with an explicit deny",
            r"(?:unable|failed) to assume (?:the )?(?:\w+ ){0,3}role",
            "(?:cannot|can't|could not|unable to) be assumed",
            "proper trust relationship",
            "must allow aws eventbridge scheduler to assume the role",
            "client error on launch",
        ),
        "awslabs/ecs-refarch-continuous-deployment#21",
        mends.aws_denied,
    ),
    Pattern(
        "AccessDenied",
        Cause.PERMISSION,
        Scope.PROJECT,
        (
            r"\b(?:ssm)?accessdenied(?:exception)?\b",
            r"\bauthfailure\b",
            r"\baccess ?denied\b",
        ),
        _EC2,
        mends.aws_denied,
        Says.CODE,
    ),
)

REQUESTS = (
    Pattern(
        "ATTRIBUTE",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "is missing an attribute required by your task",
            "placement constraint (?:is )?unsatisfied",
            "constraints? (?:was|were|is|are) not satisfied",
            r"reason'?: '?(?:attribute|missing)\b",
            r"misconfiguration:\w+",
        ),
        "compose-x/ecs_composex#731; " + _ECS,
        mend="The machines that are there can't do what the task asks for: compare the two.",
    ),
    Pattern(
        "NotFound",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            (
                r"\binvalid(?:subnetid|group|groupid|keypair|vpcid|securitygroupid|launchtemplatename"
                "|launchtemplateid|snapshot|placementgroup|capacityreservationid|iaminstanceprofile|resourceid"
                r"|volume|networkinterface|allocationid|routetable)\w*\.(?:notfound|unknown|malformed)\w*"
            ),
            "vpcresourcenotspecified",
            (
                "(?:security group|key ?pair|instance profile|target group|load balancer|launch template|placement"
                " group|subnet|vpc|role)s? [^.;]{0,80}?(?:do(?:es)? not exist|not found)"
            ),
            r"\bbad-parameters\b",
            "could not find subnet",
            "invalid iam instance profile",
            "invalid iaminstanceprofile",
        ),
        "terraform-aws-modules/terraform-aws-ec2-instance#20",
        "Name one that exists in this region, or leave it out.",
    ),
    Pattern(
        "NoInstanceTypes",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        ("no instance types satisfy the instance requirements",),
        "ECS managed instances",
        mends.no_instance_types,
    ),
    Pattern(
        "ResourceInitializationError",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            r"check your (?:\w+ )?network configuration",
            "connection issue between the task and",
            (
                "unable to (?:retrieve|get|pull) (?:ecr |private )?(?:registry auth|secrets?)"
                "(?: from (?:asm|ssm))?: [^;]{0,200}?"
                "(?:requesterror|requestcanceled|deadline exceeded|i/o timeout)"
            ),
            "failed to create cloudwatch log (?:stream|group): (?:requesterror|requestcanceled)",
        ),
        "aws/copilot-cli#5927; Releem/releem-agent#195; aws-samples/generative-ai-sagemaker-cdk-demo#4; "
        "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/resource-initialization-error.html",
        mends.no_way,
    ),
    Pattern(
        "EntityAlreadyExists",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            r"\bentityalreadyexists(?:exception)?\b",
            r"(?:role with name|instance profile) [\w+=,.@-]+ already exists",
            r"\bresourcealreadyexistsexception: the specified log group already exists",
            r"\bpullthroughcacherulealreadyexistsexception\b",
        ),
        "terraform-aws-modules/terraform-aws-ecs#363; port-labs/ocean#854; milliHQ/terraform-aws-next-js#326",
        mends.TAKEN,
    ),
    Pattern(
        "InvalidParameter",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            r"\binvalidparameter(?:combination|value|exception|dependency)?\b",
            r"\binvalidfleetconfig(?:uration)?\b",
            r"\bmissingparameter\b",
            r"\bunknownparameter\b",
            r"\bvalidation(?:error|exception)\b",
            r"\bclientexception\b",
            r"\bmalformedpolicydocument\b",
            r"\binvalidinput\b",
            "invalid value '[^']*' for instancetype",
        ),
        "machulav/ec2-github-runner#168; " + _EC2,
        "Correct the parameter that the text names.",
        Says.CODE,
    ),
    Pattern(
        "InvalidRequest",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        (
            "parameter validation failed",
            "error parsing parameter",
            "the following arguments are required",
            r"\bec2subnet(?:invalidconfiguration|notfound|missingipv6assignment)\b",
            r"\bec2(?:launchtemplate|securitygroup)\w*(?:notfound|failure|mismatch|versionmismatch)\b",
            r"\bmalformed\w+",
            "vpcidnotspecified",
            "no default (?:vpc|subnet)",
            "no subnets? found",
            r"\bnosuchentity(?:exception)?\b",
            "limited to 16384 bytes",
            "does not appear to belong to the same",
            "is smaller than snapshot",
            "invalid endpoint",
            r"\busage: aws \[options\]",
            "name already in use",
            r"\bmissingrequiredparameter\b",
            (
                r"\binvalid(?:request|argument|configuration|template|subnet|ami|snapshot|vpc|instance|role|user"
                r"|permission)\w*\b"
            ),
            r"\bbadrequest(?:exception)?\b",
            (
                r"\binvalid(?:action|query|character|block|host|spot|tenancy|zone|keypair|key\.|interface|capacity"
                r"|group|device|filter|network|placement|reserv|resource|route|securitygroup|state|tag|type"
                r"|version|volume|attribute|availability|launch|option|manifest|allocation|association)\w*"
            ),
            r"\bmissingaction\b",
            r"\bidempotentparametermismatch\b",
            r"\b(?:unknownvolumetype|encryptedvolumesnotsupported|bootforvolumetypeunsupported|asnconflict)\b",
            r"\b(?:defaultvpcdoesnotexist|cidrconflict)\b",
            r"\bplatform(?:unknown|taskdefinitionincompatibility)exception\b",
            r"\bnoupdateavailableexception\b",
            r"\bparameterconflict\w*",
            r"\bunsupported(?:operation|feature|parameter)\w*",
            r"\b(?:cluster|resource|service|taskdefinition|jobqueue|jobdefinition)notfound(?:exception|fault)?\b",
            r"for type \w+ in resourcerequirement is not valid",
            "launch template[^.]{0,80}(?:does not exist|is invalid|not found)",
            "not a valid taskdefinition",
            "must be less than the autoscaling group",
            r"operation is not available (?:in|for|to) your account\b",
        ),
        _EC2 + "; sassoftware/viya4-iac-aws#271; kestra-io/plugin-aws#504",
        mend="Correct the parameter that the text names.",
        says=Says.CODE,
    ),
)

IMAGES = (
    Pattern(
        "InvalidAMIID",
        Cause.IMAGE,
        Scope.PROJECT,
        (
            r"invalidamiid\.\w+",
            r"the image id '\[?ami-\w+\]?' does not exist",
            r"ami (?:id )?\S+ (?:is invalid|does not exist|is pending)",
            "architecture .{0,40}does not match",
            r"\bami (?:cannot|can't|could not) be (?:described|found)",
        ),
        "aws-samples/ai-services-workshop#2; aws-quickstart/quickstart-illumina-dragen#35",
        "Name a machine image that exists in this region: its id differs from region to region.",
    ),
)

INTERRUPTIONS = (
    Pattern(
        "SpotInstanceTermination",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            r"server\.spotinstance(?:termination|shutdown)",
            "terminated by ec2 spot",
            r"\btermination notice\b",
            "taken out of service in response to an ec2",
            "instance was terminated because the number of spot requests",
            r"\bspotinterruption\b",
            "spot interruption payload",
            r"\bspotinstanceinterruption\b",
            "instance-action: '?(?:terminate|stop|hibernate)",
            "spot itn received",
            "spot[_ ]instance interruption",
            r"\binstance-terminated-[a-z-]+",
            r"\bmarked-for-(?:termination|stop)\b",
            "your spot task was interrupted",
            r"instance (?:\S+ )?(?:will be|is going to be|has been|was) interrupted",
            "rebalance recommendation",
            r"\bterminationnotice\b",
        ),
        "runs-on/runs-on#206; aws/aws-node-termination-handler#701; " + _SPOT,
    ),
    Pattern(
        "HostTerminated",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            r"host ec2 (?:\(instance [^)]*\) )?(?:was )?(?:terminated|stopped)",
            r"\binfrastructurehealth\b",
        ),
        "azavea/raster-vision-aws#15; ministryofjustice/modernisation-platform-environments#17291",
    ),
    Pattern(
        "SpotInterruption",
        Cause.INTERRUPTED,
        Scope.ZONE,
        (
            (
                r"spot (?:vm|instance|node|task|request|worker|machine)?s?(?: \S+)? ?(?:was|were|has been|have been"
                "|is being|will be|is going to be|got|is about to be|is scheduled to be) (?:interrupted|terminated"
                "|reclaimed|stopped|hibernated|evicted|shut ?down|lost)"
            ),
            r"\binstance-stopped-[a-z-]+",
            r"\bmarked-for-\w+",
            r"spot (?:instance )?(?:interruption|termination|eviction|reclaim)(?: warning| notice| event)?\b",
            r"\bbidevicted(?:event)?\b",
            "interrupted by (?:ec2|aws|amazon)",
            "reclaimed by (?:ec2|aws|amazon|google|gcp|compute engine)",
            r"\bserver\.scheduledstop\b",
            "spot reclaim",
            "container instance [^.]{0,60}(?:was|has been) (?:terminated|deregistered)",
            "instance[^.]{0,40} (?:was|has been) reclaimed",
            "rebalance recommendation",
        ),
        _SPOT + "; capactio/capact#679",
        says=Says.CODE,
    ),
)

PASSING = (
    Pattern(
        "ServiceUnavailable",
        Cause.TRANSIENT,
        Scope.REGION,
        (
            r"\bserverinternal\b",
            r"\bserviceunavailable(?:exception|error)\b",
            r"\binternal(?:server|service)?(?:exception|error)\b",
            r"\brequesttime(?:out|d ?out)(?:exception|error)?\b",
            r"\btransactioninprogress(?:exception)?\b",
            r"\bserver\.unavailable\b",
            r"\b(?:max)?retryerror\b",
            "cannotstopcontainererror",
            "throttl(?:ed|ing)",
            r"\bserviceunavailable\b",
            r"\bunavailable: ",
            r"\binternalfailure\b",
            "an internal error has occurred",
        ),
        _EC2,
        says=Says.WRAPPING,
    ),
    Pattern(
        "AGENT",
        Cause.TRANSIENT,
        Scope.ZONE,
        (
            r"reason'?: '?agent\b",
            "ecs agent [^.]{0,40}disconnected",
            r"\bresourceinuse(?:exception)?\b",
            r"\boperationaborted\b",
            r"\bconcurrentmodification(?:exception)?\b",
            r"\bpriorrequestnotcomplete\b",
            r"\bincorrect(?:instance)?state\b",
            r"\bserver\.internalerror\b",
            r"\binternalserverexception\b",
            r"\bserverexception\b",
            "waiting for network interface provisioning",
            r"\bdockertimeouterror\b",
            "could not transition to",
            "failed to set ?up network (?:namespace|for)",
            r"\bcni set ?up\b",
            r"\bconcurrent(?:update|access)(?:exception)?\b",
            r"\boperationabortedexception\b",
        ),
        _ECS + "; " + _EC2,
        says=Says.WRAPPING,
    ),
    Pattern("AGENT", Cause.TRANSIENT, Scope.ZONE, (r"encountered error '?agent\b",), _ECS),
)
