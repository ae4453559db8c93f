"""Amazon: EC2, Auto Scaling, ECS."""

from __future__ import annotations

from placement.causes import mends
from placement.causes.model import Cause, Scope
from placement.causes.patterns.model import Pattern, Says

_EC2 = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html"
_KARPENTER = "karpenter-provider-aws pkg/errors/errors.go"
_SPOT = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html"
_ECS = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html"

WAITING = (
    Pattern(
        "pending-evaluation",
        None,
        Scope.ZONE,
        r"pending-evaluation|pending-fulfillment|request has been submitted for review",
        "cloudfoundry/bosh#2399",
        ("pending-", "submitted for review"),
    ),
    Pattern("fulfilled", None, Scope.ZONE, "your spot request is fulfilled", _SPOT),
    Pattern("steady-state", None, Scope.REGION, "has reached a steady state", _ECS),
)

RATE_LIMITS = (
    Pattern(
        "RequestLimitExceeded",
        Cause.TRANSIENT,
        Scope.PROJECT,
        r"\brequestlimitexceeded\b|request limit exceeded|has been throttled|\bthrottling(?:exception)?\b|rate exceeded"
        r"|toomanyrequestsexception",
        "CloudSnorkel/cdk-github-runners#946; aws/aws-cli#8604",
        ("requestlimitexceeded", "request limit exceeded", "throttl", "rate exceeded", "toomanyrequestsexception"),
    ),
)

OFFERS = (
    Pattern(
        "Unsupported",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        r"not supported in (?:your|the) requested availability zone:? ?(?:\([\w-]+\))?"
        r"|availability zone is currently constrained and we are no longer accepting",
        "firesim/firesim#872; chef/knife-ec2#51",
        ("requested availability zone", "no longer accepting"),
    ),
    Pattern(
        "Unsupported",
        Cause.NOT_OFFERED,
        Scope.REGION,
        r"requested configuration is currently not supported|instance types? .{0,80}?(?:is|are) not "
        r"(?:supported|available) in"
        r" (?:this|the|your) (?:requested )?region|supplied instance types do not exist",
        "hashicorp/terraform-provider-aws#9113; " + _EC2,
        ("configuration is currently not supported", "instance type"),
    ),
    Pattern(
        "Unsupported",
        Cause.NOT_OFFERED,
        Scope.ZONE,
        r"\(unsupported\)|\bunsupported(?: =>|:| -)|error ?code'?: '?unsupported\b",
        _KARPENTER,
        ("unsupported",),
        says=Says.CODE,
    ),
)

QUOTAS = (
    Pattern(
        "VcpuLimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        r"current vcpu limit of \d+",
        "firesim/firesim#410; aws/amazon-cloudwatch-agent-test#256",
        ("vcpu limit of",),
        mends.vcpu,
    ),
    Pattern(
        "VcpuLimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        "vcpulimitexceeded",
        _KARPENTER,
        mend=mends.vcpu,
        says=Says.CODE,
    ),
    Pattern(
        "MaxSpotInstanceCountExceeded",
        Cause.QUOTA,
        Scope.REGION,
        r"maxspotinstancecountexceeded|max spot instance count exceeded",
        "NixOS/nixops-aws#41; " + _KARPENTER,
        ("maxspotinstancecountexceeded", "max spot instance count"),
        mends.spot_vcpu,
    ),
    Pattern(
        "InstanceLimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        r"\binstancelimitexceeded\b|requested more instances \(\d+\) than your current instance limit"
        r"|your quota allows for 0 more running instance|limit (?:of .{0,40}?)?on the number of vcpus",
        _EC2,
        ("instancelimitexceeded", "current instance limit", "more running instance", "number of vcpus"),
        mends.vcpu,
    ),
    Pattern(
        "LimitExceeded",
        Cause.QUOTA,
        Scope.REGION,
        r"\b(?:vpc|keypair|address|volume|maxiops|securitygroup|launchtemplate|servicequota|spotfleet)?limitexceeded"
        r"(?:exception)?\b|\b(?:servicequotaexceeded|maxfleetcountexceeded)(?:exception)?\b"
        r"|you(?:'ve| have) reached the limit on",
        _EC2,
        (
            "limitexceeded",
            "vpclimitexceeded",
            "keypairlimit",
            "addresslimit",
            "volumelimit",
            "maxiopslimit",
            "securitygrouplimit",
            "launchtemplatelimit",
            "servicequota",
            "spotfleetlimit",
            "maxfleetcountexceeded",
            "reached the limit on",
        ),
        "Remove what isn't needed any more, or ask for more: aws service-quotas request-service-quota-increase.",
        Says.CODE,
    ),
)

STOCK = (
    Pattern(
        "InsufficientInstanceCapacity",
        Cause.CAPACITY,
        Scope.ZONE,
        r"(?:we currently )?do not have sufficient '?[\w.-]+'? capacity(?: in the availability zone "
        r"you requested \([\w-]+\))?",
        "openshift/installer#7088; danvk/mapsnap#432",
        ("do not have sufficient",),
    ),
    Pattern("no-spot-capacity", Cause.CAPACITY, Scope.ZONE, "no spot capacity available", _EC2),
    Pattern(
        "UnfulfillableCapacity",
        Cause.CAPACITY,
        Scope.REGION,
        r"unfulfillablecapacity|unable to fulfill capacity due to your request configuration",
        "mludvig/aws-ethereum-miner#23; " + _KARPENTER,
        ("unfulfillablecapacity", "unable to fulfill capacity"),
        says=Says.SENTENCE,
    ),
    Pattern(
        "capacity-oversubscribed",
        Cause.CAPACITY,
        Scope.ZONE,
        r"(?<!-)\bcapacity-oversubscribed\b|no more unused capacity available in this pool",
        "AlexsLemonade/refinebio#528",
        ("capacity-oversubscribed", "no more unused capacity"),
    ),
    Pattern(
        "SpotMaxPriceTooLow",
        Cause.CAPACITY,
        Scope.ZONE,
        r"spotmaxpricetoolow|lower than the minimum required spot request fulfillment price|(?<!-)\bprice-too-low\b",
        "kubermatic/machine-controller#1754; hashicorp/packer#7808",
        ("spotmaxpricetoolow", "minimum required spot request", "price-too-low"),
        "The price limit is below the market's price: raise it, or leave it out.",
    ),
    Pattern(
        "ReservationCapacityExceeded",
        Cause.CAPACITY,
        Scope.PURCHASE,
        r"reservationcapacityexceeded|does not have sufficient compatible and available capacity"
        r"|insufficientreservedinstancecapacity|not enough available reserved instances",
        "scylladb/scylla-cluster-tests#8839; " + _KARPENTER,
        (
            "reservationcapacityexceeded",
            "sufficient compatible",
            "insufficientreserved",
            "available reserved instances",
        ),
    ),
    Pattern(
        "InsufficientFreeAddressesInSubnet",
        Cause.CAPACITY,
        Scope.ZONE,
        r"insufficientfreeaddressesinsubnet|not (?:have )?enough free addresses",
        _KARPENTER,
        ("insufficientfreeaddresses", "enough free addresses"),
        "The subnet has no free addresses: free some, or use a larger one.",
    ),
    Pattern(
        "FargateCapacity",
        Cause.CAPACITY,
        Scope.ZONE,
        "capacity is unavailable at this time",
        "aws/containers-roadmap#2034; sil-org/ecs-deploy#277",
    ),
    Pattern(
        "RESOURCE",
        Cause.CAPACITY,
        Scope.REGION,
        r"\bresource:(?:gpu|cpu|memory|ports|eni)\b|has insufficient (?:cpu units|memory|gpus?) available",
        "apache/airflow#22255; amazon-ecs-agent#3852",
        ("resource:", "has insufficient"),
        says=Says.CODE,
    ),
    Pattern(
        "InsufficientInstanceCapacity",
        Cause.CAPACITY,
        Scope.ZONE,
        r"insufficient(?:instance|host|volume)?capacity(?:onhost)?\b|\binsufficient (?:instance|host|spot|ec2) capacity"
        r"|(?<!-)\bcapacity-not-available\b|\bconstraint-not-fulfillable\b|\b(?:az|launch|placement)-group-constraint\b",
        _KARPENTER + "; aws-parallelcluster; " + _SPOT,
        (
            "insufficientinstance",
            "insufficienthost",
            "insufficientvolume",
            "insufficientcapacity",
            "insufficient instance",
            "insufficient host",
            "insufficient spot",
            "insufficient ec2",
            "capacity-not-available",
            "constraint-not-fulfillable",
            "group-constraint",
        ),
        says=Says.CODE,
    ),
    Pattern(
        "NoContainerInstances",
        Cause.CAPACITY,
        Scope.REGION,
        r"no container instances? (?:were|was) found in your|unable to place a task because no container instance",
        "aws-samples/amazon-scalable-infra-discord-diffusion#3; " + _ECS,
        ("no container instance",),
        "The group launched no machine; its scaling activities say why: aws autoscaling describe-scaling-activities.",
        Says.WRAPPING,
    ),
)

RIGHTS = (
    Pattern(
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        Cause.PERMISSION,
        Scope.CLOUD,
        r"servicelinkedrolecreationnotpermitted|authfailureservicelinkedrolecreationnotpermitted"
        r"|permission to create the service-linked role",
        "LeanerCloud/AutoSpotting#187; terraform-aws-modules/terraform-aws-eks#2670",
        ("servicelinkedrole", "authfailure", "service-linked role"),
        "Once for the account: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com",
    ),
    Pattern(
        "PendingVerification",
        Cause.PERMISSION,
        Scope.CLOUD,
        r"\bpendingverification\b|accessing resources in this region is being validated",
        "galaxyproject/cloudlaunch#172",
        ("pendingverification", "is being validated"),
        "AWS is checking the account for this region; that ends by itself, or by a ticket to AWS Support.",
    ),
    Pattern(
        "OptInRequired",
        Cause.PERMISSION,
        Scope.CLOUD,
        r"\boptinrequired\b|not subscribed to this service|need to accept terms and subscribe"
        r"|account is (?:currently )?(?:blocked|suspended)|\(blocked\)|\bblocked: ",
        _EC2,
        ("optinrequired", "not subscribed", "accept terms", "blocked", "suspended"),
        "The account isn't signed up for this: accept the terms that the text names, or ask AWS Support.",
    ),
    Pattern(
        "FreeTier",
        Cause.PERMISSION,
        Scope.CLOUD,
        "not eligible for free tier",
        "nilbuild/developer-roadmap#10171",
        mend="The account is on the free plan, which has no GPUs: upgrade it to a paid plan.",
    ),
    Pattern(
        "ExpiredToken",
        Cause.PERMISSION,
        Scope.CLOUD,
        r"\bexpiredtoken(?:exception)?\b|security token included in the request is (?:expired|invalid)"
        r"|\b(?:requestexpired|invalidclienttokenid|invalidclienttoken|unrecognizedclientexception|signaturedoesnotmatch)\b"
        r"|not able to validate the provided access credentials|no valid credential sources|nocredentialproviders"
        r"|unable to locate credentials|failed to refresh cached credentials|token (?:has )?expired and refresh failed",
        "pulumi/pulumi-aws#2560; aws-samples/aws-iot-twinmaker-samples#147",
        (
            "expired",
            "requestexpired",
            "nocredentialproviders",
            "security token",
            "invalidclienttoken",
            "unrecognizedclient",
            "signaturedoesnotmatch",
            "credential",
        ),
        "Log in again: aws sso login, or set the credentials anew; aws sts get-caller-identity shows whose are used.",
    ),
    Pattern(
        "UnauthorizedOperation",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"\bunauthorizedoperation\b|you are not authorized to perform this operation",
        "Coalfire-Research/npk#148; CheckPointSW/Cuckoo-AWS#21",
        ("unauthorizedoperation", "not authorized to perform this"),
        mends.aws_permission,
    ),
    Pattern(
        "ecr:BatchGetImage",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"not authorized to perform:? ecr:\w+",
        "amazon-ecs-agent; " + _ECS,
        ("not authorized to perform",),
        mends.ecr_pull,
    ),
    Pattern(
        "AccessDenied",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"is not authorized to perform|explicit deny in an? (?:service control|identity-based|resource-based)"
        r"|permissions boundary allows|not authorized for images?|with an explicit deny"
        r"|unable to assume (?:the )?(?:service linked )?role|client error on launch",
        "awslabs/ecs-refarch-continuous-deployment#21",
        ("not authorized", "explicit deny", "permissions boundary", "unable to assume", "client error on launch"),
        mends.aws_denied,
    ),
    Pattern(
        "AccessDenied",
        Cause.PERMISSION,
        Scope.PROJECT,
        r"\b(?:ssm)?accessdenied(?:exception)?\b|\bauthfailure\b|\baccess ?denied\b",
        _EC2,
        ("accessdenied", "ssmaccessdenied", "authfailure", "access denied"),
        mends.aws_denied,
        Says.CODE,
    ),
)

REQUESTS = (
    Pattern(
        "NotFound",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"\binvalid(?:subnetid|group|groupid|keypair|vpcid|securitygroupid|launchtemplatename|launchtemplateid|snapshot|"
        r"placementgroup|capacityreservationid|iaminstanceprofile)\w*\.(?:notfound|unknown|malformed)\w*"
        r"|vpcresourcenotspecified|invalid iam instance profile|invalid iaminstanceprofile",
        "terraform-aws-modules/terraform-aws-ec2-instance#20",
        ("notfound", ".unknown", ".malformed", "vpcresourcenotspecified", "invalid iam"),
        "Name one that exists in this region, or leave it out.",
    ),
    Pattern(
        "NoInstanceTypes",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"no instance types satisfy the instance requirements",
        "ECS managed instances",
        ("no instance types satisfy",),
        "Widen the instance requirements of the capacity provider.",
    ),
    Pattern(
        "InvalidParameter",
        Cause.BAD_REQUEST,
        Scope.PROJECT,
        r"\binvalidparameter(?:combination|value|exception)?\b|\binvalidfleetconfig(?:uration)?\b|\bmissingparameter\b"
        r"|\bunknownparameter\b|\bvalidation(?:error|exception)\b|\bclientexception\b|\bmalformedpolicydocument\b"
        r"|\binvalidinput\b|invalid value '[^']*' for instancetype",
        "machulav/ec2-github-runner#168; " + _EC2,
        (
            "invalidparameter",
            "invalidfleetconfig",
            "missingparameter",
            "unknownparameter",
            "validationerror",
            "validationexception",
            "clientexception",
            "malformedpolicydocument",
            "invalidinput",
            "for instancetype",
        ),
        "Correct the parameter that the text names.",
        Says.CODE,
    ),
)

IMAGES = (
    Pattern(
        "InvalidAMIID",
        Cause.IMAGE,
        Scope.PROJECT,
        r"invalidamiid\.\w+|the image id '\[?ami-\w+\]?' does not exist|ami ami-\w+ is invalid",
        "aws-samples/ai-services-workshop#2",
        ("invalidamiid", "ami-"),
        "Name a machine image that exists in this region: its id differs from region to region.",
    ),
)

INTERRUPTIONS = (
    Pattern(
        "SpotInstanceTermination",
        Cause.INTERRUPTED,
        Scope.ZONE,
        r"server\.spotinstance(?:termination|shutdown)|instance was terminated because the number of spot requests"
        r"|\bspotinterruption\b|spot interruption payload|spot itn received|spot[_ ]instance interruption"
        r"|\binstance-terminated-[a-z-]+|\bmarked-for-(?:termination|stop)\b|your spot task was interrupted"
        r"|instance (?:will be|is going to be) interrupted|rebalance recommendation|\bterminationnotice\b",
        "runs-on/runs-on#206; aws/aws-node-termination-handler#701; " + _SPOT,
        (
            "spotinstance",
            "spot requests",
            "spotinterruption",
            "spot interruption",
            "spot itn",
            "instance interruption",
            "instance_interruption",
            "instance-terminated-",
            "marked-for-",
            "spot task was",
            "interrupted",
            "rebalance recommendation",
            "terminationnotice",
        ),
    ),
    Pattern(
        "HostTerminated",
        Cause.INTERRUPTED,
        Scope.ZONE,
        r"host ec2 (?:\(instance [^)]*\) )?(?:was )?(?:terminated|stopped)|\binfrastructurehealth\b",
        "azavea/raster-vision-aws#15; ministryofjustice/modernisation-platform-environments#17291",
        ("host ec2", "infrastructurehealth"),
    ),
)

PASSING = (
    Pattern(
        "ServiceUnavailable",
        Cause.TRANSIENT,
        Scope.REGION,
        r"\bserverinternal\b|\bserviceunavailable\b|\binternalerror\b|\bunavailable: |\binternalfailure\b"
        r"|an internal error has occurred",
        _EC2,
        (
            "serverinternal",
            "serviceunavailable",
            "internalerror",
            "unavailable: ",
            "internalfailure",
            "an internal error",
        ),
        says=Says.WRAPPING,
    ),
)
