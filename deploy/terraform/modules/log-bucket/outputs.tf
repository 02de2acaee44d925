output "name" {
  value = aws_s3_bucket.this.id
  # Whoever uses the name may rely on the policy.
  depends_on = [aws_s3_bucket_policy.this]
}

output "arn" {
  value      = aws_s3_bucket.this.arn
  depends_on = [aws_s3_bucket_policy.this]
}
