# Activity log and Entra logs → Event Hubs, read over its Kafka endpoint.

locals {
  hubs = {
    activity = "insights-activity-logs"
    entra    = "insights-logs-entra"
  }
}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
  tags     = var.tags
}

# Standard is the least that speaks Kafka. SAS stays on, because diagnostic settings write with a rule of it; the
# service itself reads with its managed identity and never sees a key.
resource "azurerm_eventhub_namespace" "this" {
  name                          = var.namespace_name
  resource_group_name           = azurerm_resource_group.this.name
  location                      = azurerm_resource_group.this.location
  sku                           = "Standard"
  capacity                      = var.throughput_units
  auto_inflate_enabled          = true
  maximum_throughput_units      = var.throughput_units_max
  minimum_tls_version           = "1.2"
  public_network_access_enabled = true
  tags                          = var.tags

  # Azure Monitor comes in as a trusted service; others only from the networks that are named.
  network_rulesets {
    default_action                 = "Deny"
    trusted_service_access_enabled = true
    public_network_access_enabled  = true
    ip_rule                        = [for range in var.allowed_ranges : { ip_mask = range, action = "Allow" }]
    virtual_network_rule = [for subnet in var.allowed_subnets : {
      subnet_id                                       = subnet
      ignore_missing_virtual_network_service_endpoint = false
    }]
  }
}

resource "azurerm_eventhub" "this" {
  for_each        = local.hubs
  name            = each.value
  namespace_id    = azurerm_eventhub_namespace.this.id
  partition_count = var.partitions
  # A week, the longest of this tier: so long may the service stand still.
  message_retention = 7
}

resource "azurerm_eventhub_consumer_group" "this" {
  for_each            = local.hubs
  name                = "keytrail"
  namespace_name      = azurerm_eventhub_namespace.this.name
  eventhub_name       = azurerm_eventhub.this[each.key].name
  resource_group_name = azurerm_resource_group.this.name
}

# Diagnostic settings ask for all three rights. Nobody else gets this rule.
resource "azurerm_eventhub_namespace_authorization_rule" "diagnostics" {
  name                = "diagnostics"
  namespace_name      = azurerm_eventhub_namespace.this.name
  resource_group_name = azurerm_resource_group.this.name
  listen              = true
  send                = true
  manage              = true
}

resource "azurerm_monitor_diagnostic_setting" "activity" {
  for_each                       = toset(var.subscription_ids)
  name                           = var.name
  target_resource_id             = "/subscriptions/${each.value}"
  eventhub_name                  = azurerm_eventhub.this["activity"].name
  eventhub_authorization_rule_id = azurerm_eventhub_namespace_authorization_rule.diagnostics.id

  dynamic "enabled_log" {
    for_each = toset(["Administrative", "Security", "Policy", "Alert"])
    content {
      category = enabled_log.value
    }
  }
}

resource "azurerm_monitor_aad_diagnostic_setting" "entra" {
  name                           = var.name
  eventhub_name                  = azurerm_eventhub.this["entra"].name
  eventhub_authorization_rule_id = azurerm_eventhub_namespace_authorization_rule.diagnostics.id

  dynamic "enabled_log" {
    for_each = toset(var.entra_categories)
    content {
      category = enabled_log.value
    }
  }
}
