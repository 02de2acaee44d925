# Two managed identities, neither with a secret: one receives from the hubs, the other would disable applications.

resource "azurerm_user_assigned_identity" "read" {
  name                = "${var.name}-read"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = var.tags
}

resource "azurerm_role_assignment" "read" {
  for_each             = local.hubs
  scope                = azurerm_eventhub.this[each.key].id
  role_definition_name = "Azure Event Hubs Data Receiver"
  principal_id         = azurerm_user_assigned_identity.read.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "lake" {
  count                = var.lake_container_id == null ? 0 : 1
  scope                = var.lake_container_id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.read.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_federated_identity_credential" "read" {
  count               = var.workload == null ? 0 : 1
  name                = "keytrail"
  resource_group_name = azurerm_resource_group.this.name
  parent_id           = azurerm_user_assigned_identity.read.id
  issuer              = var.workload.issuer
  subject             = "system:serviceaccount:${var.workload.namespace}:${var.workload.read_service_account}"
  audience            = ["api://AzureADTokenExchange"]
}

resource "azurerm_user_assigned_identity" "act" {
  count               = var.act == null ? 0 : 1
  name                = "${var.name}-act"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = var.tags
}

resource "azurerm_federated_identity_credential" "act" {
  count               = var.act == null ? 0 : 1
  name                = "keytrail"
  resource_group_name = azurerm_resource_group.this.name
  parent_id           = azurerm_user_assigned_identity.act[0].id
  issuer              = var.act.issuer
  subject             = "system:serviceaccount:${var.act.namespace}:${var.act.service_account}"
  audience            = ["api://AzureADTokenExchange"]
}

data "azuread_service_principal" "graph" {
  client_id = "00000003-0000-0000-c000-000000000000"
}

# OwnedBy reaches only the applications that this identity is made an owner of. The alternative, .All, may also add a
# secret to any application of the tenant: that is as good as an administrator.
resource "azuread_app_role_assignment" "act" {
  count               = var.act == null ? 0 : 1
  app_role_id         = data.azuread_service_principal.graph.app_role_ids[var.act.graph_role]
  principal_object_id = azurerm_user_assigned_identity.act[0].principal_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
}
