variable "name" {
  description = "Name of the resource group, the settings and the identities."
  type        = string
  default     = "keytrail"
}

variable "namespace_name" {
  description = "Name of the Event Hubs namespace, unique in all of Azure."
  type        = string
}

variable "location" {
  type = string
}

variable "subscription_ids" {
  description = "Subscriptions whose activity log is read."
  type        = list(string)
}

variable "entra_categories" {
  description = "Entra logs. Some want a licence: the setting is refused without it."
  type        = list(string)
  default = [
    "AuditLogs",
    "SignInLogs",
    "NonInteractiveUserSignInLogs",
    "ServicePrincipalSignInLogs",
    "ManagedIdentitySignInLogs",
    "RiskyServicePrincipals",
    "ServicePrincipalRiskEvents",
  ]
}

variable "partitions" {
  description = "Partitions of each hub; this tier cannot change it later."
  type        = number
  default     = 4
}

variable "throughput_units" {
  type    = number
  default = 1
}

variable "throughput_units_max" {
  type    = number
  default = 10
}

variable "allowed_ranges" {
  description = "Address ranges that the service connects from."
  type        = list(string)
  default     = []
}

variable "allowed_subnets" {
  description = "Ids of subnets, with the service endpoint Microsoft.EventHub, that the service connects from."
  type        = list(string)
  default     = []
}

variable "lake_container_id" {
  description = "Resource id of the blob container of lake.at."
  type        = string
  default     = null
}

variable "workload" {
  description = "The cluster's OIDC issuer and the service account that reads."
  type = object({
    issuer               = string
    namespace            = string
    read_service_account = string
  })
  default = null
}

variable "act" {
  description = "Another service account that acts, and its Graph role. None without it."
  type = object({
    issuer          = string
    namespace       = string
    service_account = string
    graph_role      = optional(string, "Application.ReadWrite.OwnedBy")
  })
  default = null
}

variable "tags" {
  type    = map(string)
  default = {}
}
