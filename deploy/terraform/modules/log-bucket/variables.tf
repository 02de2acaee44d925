variable "name" {
  description = "Name of the bucket."
  type        = string
}

variable "retention_days" {
  description = "After how many days an object ends."
  type        = number
}

variable "noncurrent_days" {
  description = "How long a replaced or deleted version is still there."
  type        = number
  default     = 90
}

variable "kms_key_arn" {
  description = "A KMS key of yours; S3's own encryption without it."
  type        = string
  default     = null
}

variable "policy_documents" {
  description = "Statements of the bucket policy besides the one that asks for TLS."
  type        = list(string)
  default     = []
}

variable "tags" {
  type    = map(string)
  default = {}
}
