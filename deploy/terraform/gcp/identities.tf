# Two identities, neither with a key: one reads the subscription, the other would contain credentials.

resource "google_service_account" "read" {
  project      = var.project
  account_id   = "${var.name}-read"
  display_name = "Keytrail reads audit logs"
}

resource "google_pubsub_subscription_iam_member" "read" {
  project      = var.project
  subscription = google_pubsub_subscription.this.name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.read.member
}

# To check the subscription's settings; it reads no message.
resource "google_pubsub_subscription_iam_member" "view" {
  project      = var.project
  subscription = google_pubsub_subscription.this.name
  role         = "roles/pubsub.viewer"
  member       = google_service_account.read.member
}

resource "google_storage_bucket_iam_member" "lake" {
  count  = var.lake_bucket == null ? 0 : 1
  bucket = var.lake_bucket
  role   = "roles/storage.objectUser"
  member = google_service_account.read.member
}

resource "google_service_account_iam_member" "read" {
  count              = var.workload == null ? 0 : 1
  service_account_id = google_service_account.read.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.workload.pool}[${var.workload.namespace}/${var.workload.read_service_account}]"
}

resource "google_service_account" "act" {
  count        = var.act == null ? 0 : 1
  project      = var.project
  account_id   = "${var.name}-act"
  display_name = "Keytrail disables service accounts and their keys"
}

# What can be undone, and what is asked before and after. No delete, no create, no token.
resource "google_organization_iam_custom_role" "act" {
  count       = var.act == null ? 0 : 1
  org_id      = var.organization_id
  role_id     = replace("${var.name}_act", "-", "_")
  title       = "Keytrail: disable service accounts and keys"
  description = "Disables and enables service accounts and their keys."
  permissions = [
    "iam.serviceAccountKeys.disable",
    "iam.serviceAccountKeys.enable",
    "iam.serviceAccountKeys.get",
    "iam.serviceAccountKeys.list",
    "iam.serviceAccounts.disable",
    "iam.serviceAccounts.enable",
    "iam.serviceAccounts.get",
  ]
}

resource "google_folder_iam_member" "act" {
  for_each = toset(var.act == null ? [] : var.act.folders)
  folder   = each.value
  role     = google_organization_iam_custom_role.act[0].id
  member   = google_service_account.act[0].member
}

resource "google_service_account_iam_member" "act" {
  count              = var.act == null ? 0 : 1
  service_account_id = google_service_account.act[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.act.pool}[${var.act.namespace}/${var.act.service_account}]"
}
