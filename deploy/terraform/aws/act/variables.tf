variable "name" {
  description = "The role is NAME-act; roles called NAME-… are protected from it."
  type        = string
  default     = "keytrail"
}

variable "workload_role_arn" {
  description = "The role that the acting workload runs as. Not the read role, if acting runs in a process of its own."
  type        = string
}

variable "external_id" {
  description = "Shared with the acting workload only; at least 16 characters, from a random source."
  type        = string
  sensitive   = true
  validation {
    condition     = length(var.external_id) >= 16
    error_message = "an external id of fewer than 16 characters can be guessed"
  }
}

variable "protected_arns" {
  description = "Users and roles that are never to be contained: break-glass accounts first of all."
  type        = list(string)
}

variable "session_deny_paths" {
  description = "IAM paths, such as /agents/, whose users and roles may get an inline policy that denies sessions. Whoever may write an inline policy may write any: leave it empty unless you accept that."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for path in var.session_deny_paths : startswith(path, "/") && endswith(path, "/") && path != "/"])
    error_message = "a path begins and ends with a slash, and is not the root"
  }
}

variable "trail_arns" {
  description = "Trails whose logging may be started again when someone stopped it."
  type        = list(string)
  default     = []
}

variable "tags" {
  type    = map(string)
  default = {}
}
