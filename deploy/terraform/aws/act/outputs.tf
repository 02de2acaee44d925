output "act_role_arn" {
  description = "The acting workload's own role needs sts:AssumeRole on it."
  value       = aws_iam_role.act.arn
}
