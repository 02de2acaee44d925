"""57 Sigma rules for CloudTrail, written for the bench: used where SigmaHQ's are not at hand.

In the same mix of shapes as those: sixteen of one source and one call, thirteen of a list of calls, four with `1 of`
over a status, six with a nested field, eight with `contains` or `startswith`, seven with a filter, two without a
call, one of two selections.
"""

ONE_CALL = """
bedrock DeleteGuardrail | bedrock DeleteModelInvocationLoggingConfiguration | ec2 CreateVpcPeeringConnection
ec2 CreateRoute | ec2 CreateNetworkAclEntry | account DisableRegion | ses VerifyEmailIdentity
ec2 EnableSerialConsoleAccess | ec2 ImportKeyPair | elasticfilesystem DeleteAccessPoint | fsx DeleteFileSystem
elasticache DeleteSnapshot | guardduty DeleteMembers | lambda AddPermission | route53 DeleteHostedZone
ec2 ModifySnapshotAttribute
"""
CALL_LISTS = """
cloudtrail StopLogging DeleteTrail PutEventSelectors
ec2 AuthorizeSecurityGroupIngress AuthorizeSecurityGroupEgress ModifySecurityGroupRules
elasticloadbalancing SetSecurityGroups SetSubnets
rds AuthorizeDBSecurityGroupIngress DeleteDBSecurityGroup CreateDBSecurityGroup
config StopConfigurationRecorder DeleteConfigRule
eks CreateCluster DeleteCluster CreateAccessEntry
elasticache CreateCacheSecurityGroup DeleteCacheSecurityGroup DeleteUserGroup
kms ScheduleKeyDeletion DisableKey ImportKeyMaterial
glue CreateDevEndpoint UpdateDevEndpoint
rds DeleteDBCluster ModifyDBCluster DeleteGlobalCluster
s3 PutBucketLogging PutLifecycleConfiguration PutBucketPolicy DeleteBucketEncryption PutBucketWebsite
securityhub DisableSecurityHub UpdateInsight DeleteInsight BatchUpdateFindings
sso DeletePermissionSet AttachManagedPolicyToPermissionSet
"""
DONE = {"done": {"errorCode": "Success"}, "done_null": {"errorCode": None}}
OTHERS = [
    ({"call": {"eventName": "DeleteBucket"}, **DONE}, "call and 1 of done*"),
    ({"call": {"eventName": "DeleteFlowLogs"}, **DONE}, "call and 1 of done*"),
    ({"call": {"eventSource": "ssm.amazonaws.com", "eventName": "SendCommand"}, **DONE}, "call and 1 of done*"),
    ({"source": {"eventSource": "guardduty.amazonaws.com"}, "way_gone": {"eventName": "DeleteDetector"},
      "way_off": {"eventName": "UpdateDetector", "requestParameters.enable": "false"}, **DONE},
     "source and 1 of way_* and 1 of done*"),
    ({"call": {"eventName": "ConsoleLogin", "errorMessage": "No username found in supplied account"}}, "call"),
    ({"call": {"eventName": "ConsoleLogin", "additionalEventData.MFAUsed": "No",
               "responseElements.ConsoleLogin": "Success", "userIdentity.type": "Root"}}, "call"),
    ({"call": {"eventSource": "ec2.amazonaws.com", "eventName": "ModifyInstanceAttribute",
               "requestParameters.attribute": "disableApiTermination"}}, "call"),
    ({"call": {"eventSource": "sts.amazonaws.com", "eventName": "GetSessionToken", "userIdentity.type": "IAMUser"}},
     "call"),
    ({"call": {"eventSource": "rds.amazonaws.com", "eventName": "ModifyDBInstance",
               "requestParameters.publiclyAccessible": "true"}}, "call"),
    ({"call": {"eventSource": "iam.amazonaws.com", "eventName": "DeleteOpenIDConnectProvider",
               "eventType": "AwsApiCall"}}, "call"),
    ({"call": {"eventSource": "s3.amazonaws.com", "eventName": "PutBucketVersioning",
               "requestParameters|contains": "suspended"}}, "call"),
    ({"call": {"eventSource": "ecs.amazonaws.com", "eventName": ["RegisterTaskDefinition", "RunTask"],
               "requestParameters.containerDefinitions.command|contains": "169.254.170.2"}}, "call"),
    ({"call": {"eventSource": "iam.amazonaws.com", "eventName": ["CreateUser", "CreateAccessKey"],
               "userAgent|contains": "cyberduck"}}, "call"),
    ({"call": {"eventSource": "iam.amazonaws.com", "eventName": ["CreateLoginProfile", "UpdateLoginProfile"],
               "userAgent|contains": "python-requests"}}, "call"),
    ({"call": {"eventSource": "iam.amazonaws.com", "eventName": "PutRolePolicy",
               "requestParameters|contains|all": ['"Allow', "iam:PassRole", "Resource"]}}, "call"),
    ({"call": {"eventSource": "sts.amazonaws.com", "eventName": "GetCallerIdentity",
               "userAgent|contains": "secret-scanner"}}, "call"),
    ({"call": {"eventSource": "lambda.amazonaws.com", "eventName|startswith": "UpdateFunctionConfig",
               "requestParameters.layers|contains": "*"}}, "call"),
    ({"call": {"eventSource": "rds.amazonaws.com", "eventName": "ModifyDBCluster",
               "responseElements.pendingModifiedValues.masterUserPassword|contains": "*"}}, "call"),
    ({"who": {"userIdentity.arn|re": ".+:assumed-role/ssm-.+"},
      "filter_own": [{"eventSource": "ssm.amazonaws.com"}, {"eventName": "UpdateInstanceInformation"}]},
     "who and not 1 of filter_*"),
    ({"call": {"eventSource": "signin.amazonaws.com", "eventName": "SwitchRole"},
      "filter_browser": {"userAgent|contains": "Mozilla/"}}, "call and not 1 of filter_*"),
    ({"call": {"eventSource": "s3.amazonaws.com", "eventName": "ListBuckets"},
      "filter": {"userIdentity.type": "AssumedRole"}}, "call and not filter"),
    ({"call": {"eventSource": "iam.amazonaws.com", "eventName": "CreateAccessKey"},
      "filter": {"userIdentity.arn|contains": "federated-user"}}, "call and not filter"),
    ({"call": {"eventSource": "ec2.amazonaws.com", "eventName": "CreateStoreImageTask"},
      "filter1": {"errorCode|contains": "*"}, "filter2": {"errorMessage|contains": "*"},
      "filter3": {"responseElements|contains": "failed"}}, "call and not 1 of filter*"),
    ({"who": {"userIdentity.type": "Root"}, "event": {"eventType": "AwsServiceEvent"}}, "who and not event"),
    ({"call": {"eventSource": "iam.amazonaws.com", "eventName": "DeactivateMFADevice"},
      "filter_own": {"userIdentity.userName|fieldref": "requestParameters.userName"}}, "call and not 1 of filter_*"),
    ({"tool": {"userAgent": "secret-scanner"}}, "tool"),
    ({"who": {"userIdentity.type": "AssumedRole", "userIdentity.sessionContext.attributes.mfaAuthenticated": "true"}},
     "who"),
    ({"way_sts": {"eventSource": "sts.amazonaws.com", "eventName": "AssumeRoleWithSAML"},
      "way_iam": {"eventSource": "iam.amazonaws.com", "eventName": "CreateSAMLProvider"}}, "1 of way_*"),
]


def all_of_them():
    """As dictionaries, in the order of the docstring."""
    one = [pair.split() for pair in ONE_CALL.replace("\n", "|").split("|") if pair.strip()]
    lists = [line.split() for line in CALL_LISTS.strip().split("\n")]
    plain = [({"call": {"eventSource": f"{service}.amazonaws.com", "eventName": names if names[1:] else names[0]}},
              "call") for service, *names in one + lists]
    return [rule(number, *parts) for number, parts in enumerate(plain + OTHERS)]


def rule(number, selections, condition):
    return {"title": f"Bench Rule {number:02}", "id": f"00000000-0000-4000-8000-{number:012}", "status": "test",
            "description": "A rule of the bench", "author": "Keytrail", "date": "2026-11-02",
            "logsource": {"product": "aws", "service": "cloudtrail"},
            "detection": {**selections, "condition": condition}, "level": "medium"}
