variable "enterprise" {
  description = "Slug of the enterprise, as in https://github.com/enterprises/SLUG. Capitals count."
  type        = string
}

variable "bucket_name" {
  description = "Bucket for the audit log; of its own."
  type        = string
}

variable "name" {
  description = "Beginning of the role's name."
  type        = string
  default     = "keytrail"
}

variable "retention_days" {
  type    = number
  default = 400
}

variable "oidc_provider_arn" {
  description = "GitHub's OIDC provider for audit logs, if this account has it already."
  type        = string
  default     = null
}

variable "read_role_name" {
  description = "Name of the role that the service reads with, such as keytrail-read."
  type        = string
  default     = null
}

variable "tags" {
  type    = map(string)
  default = {}
}
