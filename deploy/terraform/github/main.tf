# A bucket that GitHub Enterprise Cloud streams its audit log into, over OIDC: GitHub holds no key of yours.

locals {
  issuer = "oidc-configuration.audit-log.githubusercontent.com"
}

module "bucket" {
  source         = "../modules/log-bucket"
  name           = var.bucket_name
  retention_days = var.retention_days
  tags           = var.tags
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.oidc_provider_arn == null ? 1 : 0
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
  tags           = var.tags
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [coalesce(var.oidc_provider_arn, one(aws_iam_openid_connect_provider.github[*].arn))]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
    # Every enterprise of GitHub has the same issuer: this line is what keeps the others out.
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["https://github.com/${var.enterprise}"]
    }
  }
}

resource "aws_iam_role" "stream" {
  name               = "${var.name}-github-stream"
  description        = "GitHub writes its audit log"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  tags               = var.tags
}

data "aws_iam_policy_document" "stream" {
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${module.bucket.arn}/*"]
  }
}

resource "aws_iam_role_policy" "stream" {
  name   = "write"
  role   = aws_iam_role.stream.id
  policy = data.aws_iam_policy_document.stream.json
}

# The read role of ../aws reads this bucket too.
data "aws_iam_policy_document" "read" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["${module.bucket.arn}/*"]
  }
  statement {
    actions   = ["s3:ListBucket"]
    resources = [module.bucket.arn]
  }
}

resource "aws_iam_role_policy" "read" {
  count  = var.read_role_name == null ? 0 : 1
  name   = "github-audit-log"
  role   = var.read_role_name
  policy = data.aws_iam_policy_document.read.json
}
