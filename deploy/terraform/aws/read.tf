# The identity that the service reads with. It changes nothing but its own queue, and its own lake where there is one.

data "aws_iam_policy_document" "trust" {
  dynamic "statement" {
    for_each = var.oidc == null ? [] : [var.oidc]
    content {
      sid     = "ServiceAccountOfTheCluster"
      actions = ["sts:AssumeRoleWithWebIdentity"]
      principals {
        type        = "Federated"
        identifiers = [statement.value.provider_arn]
      }
      condition {
        test     = "StringEquals"
        variable = "${statement.value.issuer}:sub"
        values   = ["system:serviceaccount:${statement.value.namespace}:${statement.value.service_account}"]
      }
      condition {
        test     = "StringEquals"
        variable = "${statement.value.issuer}:aud"
        values   = ["sts.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.ec2 ? [1] : []
    content {
      sid     = "Machine"
      actions = ["sts:AssumeRole"]
      principals {
        type        = "Service"
        identifiers = ["ec2.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "read" {
  name                 = "${var.name}-read"
  description          = "Keytrail reads the organisation's trail. It acts with another role."
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 3600
  tags                 = var.tags

  lifecycle {
    precondition {
      condition     = var.oidc != null || var.ec2
      error_message = "nobody could take the role: set oidc (EKS) or ec2 (a machine)"
    }
  }
}

resource "aws_iam_instance_profile" "read" {
  count = var.ec2 ? 1 : 0
  name  = "${var.name}-read"
  role  = aws_iam_role.read.name
}

data "aws_iam_policy_document" "read" {
  statement {
    sid = "Queue"
    actions = [
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
      "sqs:GetQueueAttributes",
      "sqs:GetQueueUrl",
    ]
    resources = [aws_sqs_queue.this.arn]
  }

  statement {
    sid       = "LogsAndDigests"
    actions   = ["s3:GetObject"]
    resources = ["${local.objects}/*"]
  }

  # To compare with what was processed.
  statement {
    sid       = "ListOfObjects"
    actions   = ["s3:ListBucket"]
    resources = [module.bucket.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["AWSLogs/*"]
    }
  }

  # Neither takes a resource. The keys check the digests' signatures.
  statement {
    sid       = "DigestKeysAndLookups"
    actions   = concat(["cloudtrail:ListPublicKeys"], var.lookup_events ? ["cloudtrail:LookupEvents"] : [])
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "Key"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.lake == null ? [] : [var.lake]
    content {
      sid       = "Lake"
      actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
      resources = ["arn:${local.partition}:s3:::${statement.value.bucket}/${statement.value.prefix}/*"]
    }
  }

  dynamic "statement" {
    for_each = var.lake == null ? [] : [var.lake]
    content {
      sid       = "LakeList"
      actions   = ["s3:ListBucket"]
      resources = ["arn:${local.partition}:s3:::${statement.value.bucket}"]
      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = [statement.value.prefix, "${statement.value.prefix}/*"]
      }
    }
  }
}

resource "aws_iam_role_policy" "read" {
  name   = "read"
  role   = aws_iam_role.read.id
  policy = data.aws_iam_policy_document.read.json
}
