"""Signs in with azure-identity or msal: one JSON object per line in, one out, each answered when it is done."""

import json
import sys
import threading

import azure.identity
import msal
import requests

SCOPE = "https://redis.azure.com/.default"
RESOURCE = "https://redis.azure.com"
# azure-identity is patient: with its own settings it tries for up to a minute. How often is all that is changed.
RETRIES = {"retry_total": 2}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def azure_identity(ask):
    entra = {"tenant_id": ask["tenant_id"], "client_id": ask["client_id"], **RETRIES}
    if ask["authority"]:  # without one the library's own is used, as in an application
        entra |= {"authority": ask["authority"], "disable_instance_discovery": True}
    match ask["credential"]:
        case "client-secret":
            credential = azure.identity.ClientSecretCredential(client_secret=ask["secret"], **entra)
        case "certificate":
            credential = azure.identity.CertificateCredential(certificate_path=ask["certificate_file"], **entra)
        case "workload-identity":
            credential = azure.identity.WorkloadIdentityCredential(token_file_path=ask["assertion_file"], **entra)
        case "managed-identity":
            credential = azure.identity.ManagedIdentityCredential(client_id=ask["client_id"], **RETRIES)
    return lambda: credential.get_token(SCOPE).token


def msal_python(ask):
    if ask["credential"] == "managed-identity":
        identity = msal.ManagedIdentityClient(
            msal.UserAssignedManagedIdentity(client_id=ask["client_id"]), http_client=requests.Session()
        )
        return lambda: token_of(identity.acquire_token_for_client(resource=RESOURCE))
    match ask["credential"]:
        case "client-secret":
            credential = ask["secret"]
        case "certificate":
            pem = read(ask["certificate_file"])
            credential = {"private_key": pem, "public_certificate": pem}
        case "workload-identity":
            credential = {"client_assertion": lambda: read(ask["assertion_file"])}
    options = {"instance_discovery": False} if ask["authority"] else {}
    host = ask["authority"] or "https://login.microsoftonline.com"
    # MSAL asks for the issuer's metadata when the client is made.
    client = None

    def sign_in():
        nonlocal client
        client = client or msal.ConfidentialClientApplication(
            ask["client_id"], client_credential=credential, authority=f"{host}/{ask['tenant_id']}", **options
        )
        return token_of(client.acquire_token_for_client([SCOPE]))

    return sign_in


def token_of(result):
    if "access_token" in result:
        return result["access_token"]
    raise RuntimeError(json.dumps(result))


def explain(error):
    """All that the caller can learn from an exception: its own text and those of its causes."""
    text = []
    while error:
        text.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return " <- ".join(text)


LIBRARIES = {"azure-identity": azure_identity, "msal": msal_python}
clients = {}
output = threading.Lock()


def answer(ask):
    try:
        if ask["session"] not in clients:
            clients[ask["session"]] = LIBRARIES[ask["library"]](ask)
        reply = {"id": ask["id"], "ok": True, "token": clients[ask["session"]]()}
    except Exception as error:  # whatever the library raises is its answer
        reply = {"id": ask["id"], "ok": False, "error": explain(error)}
    with output:
        print(json.dumps(reply), flush=True)


for line in sys.stdin:
    threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
