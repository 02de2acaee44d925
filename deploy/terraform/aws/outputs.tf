output "queue_url" {
  description = "sources.NAME.sqs.queue_url"
  value       = aws_sqs_queue.this.url
}

output "dead_letter_queue_url" {
  value = aws_sqs_queue.dead.url
}

output "bucket" {
  value = module.bucket.name
}

output "trail_arn" {
  value = aws_cloudtrail.this.arn
}

output "read_role_arn" {
  description = "serviceAccount.annotations of the chart: eks.amazonaws.com/role-arn"
  value       = aws_iam_role.read.arn
}
