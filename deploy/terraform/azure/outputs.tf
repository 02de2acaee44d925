output "broker" {
  description = "sources.NAME.kafka.brokers"
  value       = "${azurerm_eventhub_namespace.this.name}.servicebus.windows.net:9093"
}

output "topics" {
  description = "sources.NAME.kafka.topics"
  value       = [for hub in azurerm_eventhub.this : hub.name]
}

output "consumer_group" {
  value = "keytrail"
  # It stands in each hub.
  depends_on = [azurerm_eventhub_consumer_group.this]
}

output "read_client_id" {
  description = "serviceAccount.annotations of the chart: azure.workload.identity/client-id"
  value       = azurerm_user_assigned_identity.read.client_id
}

output "act_client_id" {
  value = one(azurerm_user_assigned_identity.act[*].client_id)
}
