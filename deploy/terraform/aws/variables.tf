variable "name" {
  description = "Name of the trail, the queue and the role."
  type        = string
  default     = "keytrail"
}

variable "region" {
  description = "Home region of the trail; the provider's."
  type        = string
}

variable "organization_id" {
  description = "o-…, as `aws organizations describe-organization` gives it."
  type        = string
  validation {
    condition     = can(regex("^o-[a-z0-9]{10,32}$", var.organization_id))
    error_message = "an organisation's id begins with o-"
  }
}

variable "trail_account_id" {
  description = "The management account's id: an organisation trail belongs to it, also when a delegated account makes it."
  type        = string
}

variable "bucket_name" {
  description = "Bucket for the trail."
  type        = string
}

variable "retention_days" {
  description = "How long the trail's objects are kept."
  type        = number
  default     = 400
}

variable "kms_key_arn" {
  description = "Key that encrypts the trail; its policy must let CloudTrail encrypt. S3's own encryption without it."
  type        = string
  default     = null
}

variable "data_event_types" {
  description = "Data events to log too, such as AWS::S3::Object or AWS::Lambda::Function. They cost by the event."
  type        = list(string)
  default     = []
}

variable "max_receive_count" {
  description = "After how many deliveries a message goes to the dead-letter queue."
  type        = number
  default     = 10
}

variable "oidc" {
  description = "The cluster's OIDC provider, its issuer without https://, and who may take the read role."
  type = object({
    provider_arn    = string
    issuer          = string
    namespace       = string
    service_account = string
  })
  default = null
}

variable "ec2" {
  description = "Whether a machine takes the read role through an instance profile."
  type        = bool
  default     = false
}

variable "lookup_events" {
  description = "Whether the source `cloudtrail` is used: CloudTrail's own API, for this account only."
  type        = bool
  default     = false
}

variable "lake" {
  description = "Where lake.at points, without a slash at the end."
  type        = object({ bucket = string, prefix = string })
  default     = null
}

variable "tags" {
  type    = map(string)
  default = {}
}
