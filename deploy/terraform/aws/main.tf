# Organisation trail → bucket → queue, in the management account or the one that CloudTrail is delegated to.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  # Names are put together here, because the bucket's policy names the trail and the trail wants the policy first.
  trail_arn  = "arn:${local.partition}:cloudtrail:${var.region}:${var.trail_account_id}:trail/${var.name}"
  bucket_arn = "arn:${local.partition}:s3:::${var.bucket_name}"
  objects    = "${local.bucket_arn}/AWSLogs"
}

data "aws_iam_policy_document" "trail_writes" {
  statement {
    sid       = "TrailAsksWhoseBucket"
    actions   = ["s3:GetBucketAcl"]
    resources = [local.bucket_arn]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.trail_arn]
    }
  }

  statement {
    sid     = "TrailWrites"
    actions = ["s3:PutObject"]
    # The organisation's members, and the account that the trail is in.
    resources = [
      "${local.objects}/${var.organization_id}/*",
      "${local.objects}/${var.trail_account_id}/*",
    ]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "s3:x-amz-acl"
      values   = ["bucket-owner-full-control"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.trail_arn]
    }
  }
}

module "bucket" {
  source           = "../modules/log-bucket"
  name             = var.bucket_name
  retention_days   = var.retention_days
  kms_key_arn      = var.kms_key_arn
  policy_documents = [data.aws_iam_policy_document.trail_writes.json]
  tags             = var.tags
}

resource "aws_cloudtrail" "this" {
  name                          = var.name
  s3_bucket_name                = module.bucket.name
  kms_key_id                    = var.kms_key_arn
  is_organization_trail         = true
  is_multi_region_trail         = true
  include_global_service_events = true
  # Digest files: `keytrail source reconcile` proves with them that no object is missing.
  enable_log_file_validation = true
  tags                       = var.tags

  advanced_event_selector {
    name = "Management events"
    field_selector {
      field  = "eventCategory"
      equals = ["Management"]
    }
  }

  dynamic "advanced_event_selector" {
    for_each = var.data_event_types
    content {
      name = "Data events of ${advanced_event_selector.value}"
      field_selector {
        field  = "eventCategory"
        equals = ["Data"]
      }
      field_selector {
        field  = "resources.type"
        equals = [advanced_event_selector.value]
      }
    }
  }
}
