output "subscription" {
  description = "sources.NAME.pubsub.subscription"
  value       = google_pubsub_subscription.this.id
}

output "dead_letter_subscription" {
  value = google_pubsub_subscription.dead.id
}

output "read_service_account" {
  description = "serviceAccount.annotations of the chart: iam.gke.io/gcp-service-account"
  value       = google_service_account.read.email
}

output "act_service_account" {
  value = one(google_service_account.act[*].email)
}
