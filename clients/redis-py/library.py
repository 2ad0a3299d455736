"""What an application does with redis-py: open a client, run commands and transactions, subscribe, close.

A client is wired as redis-py's guide to Microsoft Entra wires it: an EntraIdCredentialsProvider of redis-entraid, handed to
redis.Redis, or to redis.RedisCluster for a clustered cache, as its credential_provider, with the defaults of both libraries. Signing
in, refreshing the token, sending AUTH, reconnecting and retrying are theirs alone. Nothing here helps them, and nothing here repairs them.
"""

import functools
import hashlib
import re
import ssl
import time

import azure.identity
import jwt
import redis
import requests
from msal import ConfidentialClientApplication
from redis.auth.err import InvalidTokenSchemaErr, RequestTokenErr, TokenRenewalErr
from redis.auth.token_manager import RetryPolicy, TokenManagerConfig
from redis_entraid.cred_provider import (
    DEFAULT_DELAY_IN_MS,
    DEFAULT_EXPIRATION_REFRESH_RATIO,
    DEFAULT_LOWER_REFRESH_BOUND_MILLIS,
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_TOKEN_REQUEST_EXECUTION_TIMEOUT_IN_MS,
    EntraIdCredentialsProvider,
    create_from_managed_identity,
)
from redis_entraid.identity_provider import (
    DefaultAzureCredentialProvider,
    ManagedIdentityIdType,
    ManagedIdentityType,
    ServicePrincipalProvider,
)

import values
from entra import azure_credential, verify
from values import text

# Not here: credential:username, because redis-entraid always takes the user name from the token; and events, because redis-py
# keeps the provider's only on_error slot for itself, so that the application hears nothing of a failed refresh.
CAPABILITIES = [
    "credential:client-secret",
    "credential:access-key",
    "credential:managed-identity",
    "credential:certificate",
    "credential:workload-identity",
    "resp2",
    "resp3",
    "pubsub",
    "pool",
    "blocking",
    "tls:custom-ca",
    "cluster",
    "transactions",
    "transactions:watch",
    "shared-provider",
]
NAME = "redis-py"
PACKAGES = ("redis", "redis-entraid", "msal", "PyJWT")  # the first one is the library under test

# What redis-entraid's factories use where they are told nothing else.
TOKEN_MANAGER = TokenManagerConfig(
    DEFAULT_EXPIRATION_REFRESH_RATIO,
    DEFAULT_LOWER_REFRESH_BOUND_MILLIS,
    DEFAULT_TOKEN_REQUEST_EXECUTION_TIMEOUT_IN_MS,
    RetryPolicy(DEFAULT_MAX_ATTEMPTS, DEFAULT_DELAY_IN_MS),
)

# The sleep_time that redis-py's documentation gives run_in_thread, in seconds. It is a socket timeout as well, so another value
# would change what becomes of AUTH on the connection of a subscriber.
SUBSCRIBER_SLEEP_TIME = 0.001


class TokenUnavailable(Exception):
    """MSAL could not be set up: it reads the issuer's OpenID configuration in its constructor."""


class Client:
    def __init__(self, request, emit, shared=None):
        """emit is called with each message event, from the subscriber's thread; shared is the client whose provider this one shares."""
        options = request.get("options") or {}
        cache, credential = request["cache"], request["credential"]
        settings = {"host": cache["host"], "port": cache["port"], "ssl": True, "ssl_ca_data": cache.get("ca_pem")}
        # What the harness leaves open stays at the library's own default.
        if options.get("resp"):
            settings["protocol"] = options["resp"]
        if options.get("pool_size"):
            settings["max_connections"] = options["pool_size"]
        if options.get("connect_timeout_ms"):
            settings["socket_connect_timeout"] = options["connect_timeout_ms"] / 1000
        if options.get("command_timeout_ms"):
            settings["socket_timeout"] = options["command_timeout_ms"] / 1000
        if credential["kind"] == "access-key":
            settings["password"] = credential["access_key"]
        else:
            self.provider = shared.provider if shared else credentials(request)
            settings["credential_provider"] = self.provider

        self.closed = False
        self._emit = emit
        self._subscribers = []
        # The same arguments, as redis-py's documentation has it for a cluster; and since the nodes are named by IP address, for
        # which the service has no certificate, address_remap, which is for addresses that differ.
        if cache.get("cluster"):
            self._redis = redis.RedisCluster(**settings, address_remap=lambda address: (cache["host"], address[1]))
        else:
            self._redis = redis.Redis(**settings)
        self._confirm_timeout = self._redis.get_connection_kwargs()["socket_timeout"]
        # redis-py turns the replies of known commands into Python values: SET gives True. These callbacks ask for the replies
        # as they are. redis-py does not tell a simple string from a bulk string in either case. The client of a cluster leaves that
        # to those of its nodes, which come and go: there SET gives True.
        if not cache.get("cluster"):
            for name in list(self._redis.response_callbacks):
                self._redis.set_response_callback(name, lambda response, **_: response)

    def command(self, args):
        return typed(self._redis.execute_command(*args))

    def begin(self, commands, watch):
        """As redis-py's documentation has it: after watch() come multi() and the commands, which execute() sends with EXEC."""
        pipe = self._redis.pipeline(transaction=True)
        try:
            if watch:
                pipe.watch(*watch)
                pipe.multi()
            for args in commands:
                pipe.execute_command(*args)
        except BaseException:
            pipe.reset()
            raise
        return functools.partial(self._execute, pipe)

    def _execute(self, pipe):
        try:
            return typed(pipe.execute(raise_on_error=False))
        except redis.WatchError as error:
            if "changed" in str(error):
                return typed(None)
            raise  # the connection ended while keys were watched
        finally:
            pipe.reset()

    def subscribe(self, channels):
        pubsub = self._redis.pubsub()
        try:
            pubsub.subscribe(**dict.fromkeys(channels, self._on_message))
            self._await_confirmations(pubsub, channels)
            thread = pubsub.run_in_thread(SUBSCRIBER_SLEEP_TIME, daemon=True, exception_handler=end_of_subscription)
        except BaseException:
            pubsub.close()
            raise
        self._subscribers.append(thread)

    def _await_confirmations(self, pubsub, channels):
        missing = set(channels)
        deadline = time.monotonic() + self._confirm_timeout
        while missing:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no confirmation of SUBSCRIBE {' '.join(sorted(missing))} in {self._confirm_timeout} s")
            message = pubsub.get_message(timeout=left)
            if message and message["type"] == "subscribe":
                missing.discard(text(message["channel"]))

    def _on_message(self, message):
        self._emit({"event": "message", "channel": text(message["channel"]), "value": text(message["data"])})

    def close(self):
        self.closed = True
        # There is no call that stops an EntraIdCredentialsProvider; closing the client is all that an application can do.
        for thread in self._subscribers:
            thread.stop()
        for thread in self._subscribers:
            thread.join(self._confirm_timeout)
        self._redis.close()


def credentials(request):
    """The provider for the kind of credential that the harness asks for."""
    credential = request["credential"]
    if credential["kind"] == "managed-identity":
        return managed_identity_credentials(credential, request["scopes"])
    if credential["kind"] == "workload-identity":
        return workload_identity_credentials(request)
    return service_principal_credentials(request["entra"], credential, request["scopes"])


def service_principal_credentials(entra, credential, scopes):
    """What redis_entraid's create_from_service_principal builds, with an issuer other than login.microsoftonline.com."""
    try:
        application = ConfidentialClientApplication(
            client_id=credential["client_id"],
            client_credential=credential.get("client_secret") or certificate(credential["certificate_pem"]),
            authority=entra["authority"],
            instance_discovery=False,  # it would ask login.microsoftonline.com about this issuer
            verify=verify(entra),
        )
    except (ValueError, requests.RequestException) as error:  # ValueError is MSAL's answer to an HTTP status of 4xx
        raise TokenUnavailable(str(error)) from error
    return EntraIdCredentialsProvider(ServicePrincipalProvider(application, scopes), TOKEN_MANAGER)


def certificate(pem):
    """A certificate and its key in PEM, as MSAL takes them."""
    _, key = pem.split("-----END CERTIFICATE-----")
    certificate_pem = pem.removesuffix(key)
    thumbprint = hashlib.sha1(ssl.PEM_cert_to_DER_cert(certificate_pem)).hexdigest()
    return {"private_key": key.strip(), "thumbprint": thumbprint, "public_certificate": certificate_pem}


def managed_identity_credentials(credential, scopes):
    resource = scopes[0].removesuffix("/.default")  # a machine knows resources, not scopes
    if credential.get("client_id"):
        return create_from_managed_identity(
            ManagedIdentityType.USER_ASSIGNED, resource, ManagedIdentityIdType.CLIENT_ID, credential["client_id"]
        )
    return create_from_managed_identity(ManagedIdentityType.SYSTEM_ASSIGNED, resource)


def workload_identity_credentials(request):
    """What create_from_default_azure_credential builds, with the one credential of its chain that is for workload identities: that
    can be told the issuer, and the file of one client among several in this process."""
    azure_provider = DefaultAzureCredentialProvider(azure_credential(azure.identity, request), tuple(request["scopes"]))
    return EntraIdCredentialsProvider(azure_provider, TOKEN_MANAGER)


def end_of_subscription(error, pubsub, thread):
    """The handler of redis-py's documentation for run_in_thread: say it, and stop."""
    print(f"subscriber ended: {type(error).__name__}: {error}", flush=True)
    thread.stop()


def typed(reply):
    return values.typed(reply, error_text)


def error_text(value):
    return " ".join(filter(None, (value.status_code, str(value)))) if isinstance(value, redis.RedisError) else None


TOKEN_ERRORS = (TokenUnavailable, RequestTokenErr, InvalidTokenSchemaErr, TokenRenewalErr, jwt.PyJWTError)
AUTH_ERRORS = (redis.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.ExternalAuthProviderError)


def describe(error):
    """An exception in the protocol's terms: the kind from its class, code and message as the library gives them."""
    message, code = str(error), getattr(error, "status_code", None)
    if code is None and isinstance(error, redis.ResponseError):
        # redis-py takes the first word off the message only if it has a class for it.
        word = re.match(r"[A-Z]+(?= )", message)
        code = word and word.group()
    described = {"kind": kind_of(error, message), "message": message, "exception": type(error).__qualname__}
    if code:
        described["code"] = code
    return described


def kind_of(error, message):
    if isinstance(error, redis.exceptions.RedisClusterException):  # no node could be asked; what was wrong with the last is its cause
        cause = error.__cause__
        return kind_of(cause, str(cause)) if cause is not None else "network"
    if isinstance(error, TOKEN_ERRORS):
        return "token"
    if isinstance(error, AUTH_ERRORS):
        return "auth"
    if isinstance(error, redis.ResponseError) and message.startswith(("WRONGPASS", "NOAUTH")):
        return "auth"  # the server wrote "ERR WRONGPASS …", a plain ResponseError to redis-py
    if isinstance(error, (redis.ResponseError, redis.BusyLoadingError)):
        return "redis"
    if isinstance(error, (redis.TimeoutError, TimeoutError)):
        return "timeout"
    if isinstance(error, (redis.ConnectionError, redis.InvalidResponse, redis.WatchError, OSError)):
        return "network"
    if isinstance(error, redis.RedisError):  # DataError and its like: refused before anything was sent
        return "config"
    return "internal"
