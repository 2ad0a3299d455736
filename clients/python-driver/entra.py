"""How an application asks Microsoft Entra by azure-identity."""

from trust import ca_file


def azure_credential(azure, request, **network):
    """azure is azure.identity, or azure.identity.aio. A managed identity's machine is found in the environment."""
    credential = request["credential"]
    kind = credential["kind"]
    if kind == "managed-identity":
        return azure.ManagedIdentityCredential(client_id=credential.get("client_id"), **network)
    entra = request["entra"]
    issuer = {
        "authority": entra["authority_host"],
        "disable_instance_discovery": True,  # it would ask login.microsoftonline.com about this issuer
        "connection_verify": verify(entra),
        **network,
    }
    application = {"tenant_id": entra["tenant_id"], "client_id": credential["client_id"]}
    if kind == "workload-identity":
        return azure.WorkloadIdentityCredential(**application, token_file_path=credential["token_file"], **issuer)
    if kind == "certificate":
        pem = credential["certificate_pem"].encode()
        return azure.CertificateCredential(**application, certificate_data=pem, **issuer)
    return azure.ClientSecretCredential(**application, client_secret=credential["client_secret"], **issuer)


def verify(entra):
    """The issuer's trust roots, as requests and azure-core take them."""
    return ca_file(entra["ca_pem"]) if entra.get("ca_pem") else True
