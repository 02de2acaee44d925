output "objects" {
  description = "sources.NAME.objects.at"
  value       = "s3://${module.bucket.name}/"
}

output "stream_role_arn" {
  description = "What GitHub's streaming page asks for, under OpenID Connect."
  value       = aws_iam_role.stream.arn
}
