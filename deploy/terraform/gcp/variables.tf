variable "organization_id" {
  description = "Number of the organisation."
  type        = string
}

variable "project" {
  description = "Project of the topic and the identities; best one of its own."
  type        = string
}

variable "name" {
  description = "Name of topic, subscription and sink."
  type        = string
  default     = "keytrail"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{3,20}$", var.name))
    error_message = "4 to 21 small letters, digits and hyphens: a service account's id is made from it"
  }
}

variable "kms_key_name" {
  description = "Key that encrypts the messages; Google's own without it."
  type        = string
  default     = null
}

variable "max_delivery_attempts" {
  description = "After how many deliveries a message goes to the dead-letter topic, 5 to 100."
  type        = number
  default     = 20
}

variable "data_access_services" {
  description = "Services whose Data Access logs are switched on, such as iam.googleapis.com, sts.googleapis.com, secretmanager.googleapis.com. Takes the place of what the organisation says for them now."
  type        = list(string)
  default     = []
}

variable "lake_bucket" {
  description = "Bucket of lake.at."
  type        = string
  default     = null
}

variable "workload" {
  description = "The Kubernetes service account that reads; pool is PROJECT.svc.id.goog."
  type = object({
    pool                 = string
    namespace            = string
    read_service_account = string
  })
  default = null
}

variable "act" {
  description = "Another Kubernetes service account that acts, and the folders (folders/NUMBER) in which it may. None without it."
  type = object({
    pool            = string
    namespace       = string
    service_account = string
    folders         = list(string)
  })
  default = null
}

variable "labels" {
  type    = map(string)
  default = {}
}
