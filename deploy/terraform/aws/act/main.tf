# The identity that would contain a credential of this account. Not the one that reads: other trust, other rights, and
# an external id that only the acting workload knows. By default it can switch a key off and on again, and nothing else.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  iam = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}"
  # Never contained: these, and the role itself.
  protected = concat(var.protected_arns, ["${local.iam}:role/${var.name}", "${local.iam}:role/${var.name}-*"])
  # IAM has no condition on what an inline policy says. So the right to write one is the right to grant anything to the
  # principals that it covers: only where it was asked for, and only on the paths that were named.
  deny_users = [for path in var.session_deny_paths : "${local.iam}:user${path}*"]
  deny_roles = [for path in var.session_deny_paths : "${local.iam}:role${path}*"]
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = [var.workload_role_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.external_id]
    }
    # Who approved and why is in the journal; this ties a session in the trail to it.
    condition {
      test     = "StringLike"
      variable = "sts:RoleSessionName"
      values   = ["keytrail-*"]
    }
  }
}

resource "aws_iam_role" "act" {
  name                 = "${var.name}-act"
  description          = "Keytrail disables credentials. It reads with another role."
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 3600
  tags                 = var.tags
}

data "aws_iam_policy_document" "act" {
  statement {
    sid       = "SwitchKeys"
    actions   = ["iam:UpdateAccessKey", "iam:UpdateServiceSpecificCredential"]
    resources = ["${local.iam}:user/*"]
  }

  # Verified after, and asked before: whose key it is, and whether it is off.
  statement {
    sid       = "ReadBack"
    actions   = ["iam:ListAccessKeys", "iam:ListServiceSpecificCredentials", "iam:GetUser"]
    resources = ["${local.iam}:user/*"]
  }

  statement {
    sid       = "LastUse"
    actions   = ["iam:GetAccessKeyLastUsed"]
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = length(var.session_deny_paths) > 0 ? [1] : []
    content {
      sid       = "DenySessionsOfUsers"
      actions   = ["iam:PutUserPolicy", "iam:DeleteUserPolicy", "iam:GetUserPolicy", "iam:ListUserPolicies"]
      resources = local.deny_users
    }
  }

  dynamic "statement" {
    for_each = length(var.session_deny_paths) > 0 ? [1] : []
    content {
      sid       = "DenySessionsOfRoles"
      actions   = ["iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:GetRolePolicy", "iam:ListRolePolicies"]
      resources = local.deny_roles
    }
  }

  dynamic "statement" {
    for_each = length(var.trail_arns) > 0 ? [1] : []
    content {
      sid       = "StartLoggingAgain"
      actions   = ["cloudtrail:StartLogging", "cloudtrail:GetTrailStatus"]
      resources = var.trail_arns
    }
  }

  # Whatever is attached later: what cannot be undone, what makes a credential, and what must never be contained.
  statement {
    sid    = "Never"
    effect = "Deny"
    actions = [
      "iam:CreateAccessKey",
      "iam:DeleteAccessKey",
      "iam:CreateServiceSpecificCredential",
      "iam:DeleteServiceSpecificCredential",
      "iam:ResetServiceSpecificCredential",
      "iam:CreateLoginProfile",
      "iam:UpdateLoginProfile",
      "iam:UpdateAssumeRolePolicy",
      "iam:PassRole",
      "sts:AssumeRole",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "NeverThese"
    effect    = "Deny"
    actions   = ["iam:Update*", "iam:Put*", "iam:Delete*", "iam:Attach*", "iam:Detach*"]
    resources = local.protected
  }
}

resource "aws_iam_role_policy" "act" {
  name   = "act"
  role   = aws_iam_role.act.id
  policy = data.aws_iam_policy_document.act.json
}
