# Organisation log sink → Pub/Sub → subscription, delivered exactly once within the acknowledgement deadline.

data "google_project" "this" {
  project_id = var.project
}

locals {
  logs = [
    "cloudaudit.googleapis.com/activity",
    "cloudaudit.googleapis.com/data_access",
    "cloudaudit.googleapis.com/system_event",
    "cloudaudit.googleapis.com/policy",
  ]
  filter        = join(" OR ", [for log in local.logs : "log_id(\"${log}\")"])
  pubsub_member = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic" "this" {
  project                    = var.project
  name                       = var.name
  kms_key_name               = var.kms_key_name
  message_retention_duration = "604800s"
  labels                     = var.labels
}

# Messages that were not acknowledged again and again. They are kept, and can be read from the subscription below.
resource "google_pubsub_topic" "dead" {
  project      = var.project
  name         = "${var.name}-dead"
  kms_key_name = var.kms_key_name
  labels       = var.labels
}

resource "google_pubsub_subscription" "dead" {
  project                    = var.project
  name                       = "${var.name}-dead"
  topic                      = google_pubsub_topic.dead.id
  message_retention_duration = "604800s"
  labels                     = var.labels
  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_subscription" "this" {
  project                      = var.project
  name                         = var.name
  topic                        = google_pubsub_topic.this.id
  enable_exactly_once_delivery = true
  ack_deadline_seconds         = 60
  # A week, so long may the service stand still.
  message_retention_duration = "604800s"
  labels                     = var.labels

  # Does not end when nobody reads for a month.
  expiration_policy {
    ttl = ""
  }
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead.id
    max_delivery_attempts = var.max_delivery_attempts
  }
}

# Pub/Sub's own account moves messages to the dead-letter topic.
resource "google_pubsub_topic_iam_member" "dead" {
  project = var.project
  topic   = google_pubsub_topic.dead.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_member
}

resource "google_pubsub_subscription_iam_member" "dead" {
  project      = var.project
  subscription = google_pubsub_subscription.this.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_member
}

resource "google_logging_organization_sink" "this" {
  name             = var.name
  description      = "Audit logs of all projects for Keytrail"
  org_id           = var.organization_id
  include_children = true
  destination      = "pubsub.googleapis.com/${google_pubsub_topic.this.id}"
  filter           = local.filter
}

resource "google_pubsub_topic_iam_member" "sink" {
  project = var.project
  topic   = google_pubsub_topic.this.name
  role    = "roles/pubsub.publisher"
  member  = google_logging_organization_sink.this.writer_identity
}

# Without it there are only administrative events: no read of a secret, no token that was made. It costs by volume.
resource "google_organization_iam_audit_config" "data_access" {
  for_each = toset(var.data_access_services)
  org_id   = var.organization_id
  service  = each.value
  audit_log_config {
    log_type = "ADMIN_READ"
  }
  audit_log_config {
    log_type = "DATA_READ"
  }
  audit_log_config {
    log_type = "DATA_WRITE"
  }
}
