"""What an application does with coredis: open a client, run commands, subscribe, close.

coredis knows nothing of Microsoft Entra. It asks a credential provider of the application's for a user name and a password whenever it
opens a connection, as its handbook says; the one here gets the token from azure-identity, which keeps it until five minutes before its
end. Reconnecting and retrying are coredis' own, with its defaults. Nothing here helps it, and nothing here repairs it.

coredis is used by coroutines. They run in an event loop in a thread of its own, and the threads of the conversation wait for them.
"""

import asyncio
import importlib.metadata
import platform
import threading

import anyio
import coredis
import coredis.exceptions
import jwt
from azure.core.exceptions import AzureError
from azure.identity.aio import ClientSecretCredential
from coredis.commands import CommandRequest
from coredis.commands.constants import CommandName
from coredis.credentials import AbstractCredentialProvider, UserPass
from coredis.parser import Parser
from coredis.typing import Key

import values
from trust import ca_file
from values import text

# Not here: resp2, which coredis gave up with 6.0; and events, because there is nothing that coredis would tell of tokens.
CAPABILITIES = [
    "credential:client-secret",
    "credential:access-key",
    "credential:username",
    "resp3",
    "pubsub",
    "pool",
    "blocking",
    "tls:custom-ca",
    "cluster",
]
CREDENTIALS = ("client-secret", "access-key")
PACKAGES = ("coredis", "azure-identity", "msal", "aiohttp")  # the first one is the library under test

# Defaults that bound an exchange on the network, in seconds: coredis' for the confirmation of SUBSCRIBE, azure-core's for connecting to
# the issuer and for reading from it.
SUBSCRIPTION_TIMEOUT = 1
ISSUER_TIMEOUT = 300

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def about():
    return {
        "name": "coredis",
        "language": "python",
        "libraries": [{"name": name, "version": importlib.metadata.version(name)} for name in PACKAGES],
        "runtime": f"{platform.python_implementation()} {platform.python_version()}",
        "os": f"{platform.system()}/{platform.machine()}".lower(),
    }


class EntraCredentialProvider(AbstractCredentialProvider):
    """The user name is the object ID in the token, unless the application sets one."""

    def __init__(self, credential, scopes, username):
        self._credential, self._scopes, self._username = credential, scopes, username

    async def get_credentials(self):
        token = await self._credential.get_token(*self._scopes)
        username = self._username or jwt.decode(token.token, options={"verify_signature": False, "require": ["oid"]})["oid"]
        return UserPass(username, token.token)


class Client:
    def __init__(self, request, emit):
        """emit is called with each message event, from the thread of the event loop."""
        self.closed = False
        self._emit = emit
        self._rate = (request.get("options") or {}).get("clock_rate") or 1
        self._subscribers = []
        # Made here and not in the event loop, which reading the trust roots would hold up for all clients.
        self._credential, settings = self._settings(request)
        make = coredis.RedisCluster if request["cache"].get("cluster") else coredis.Redis
        self._redis = make(**settings)
        wait(self._open())

    async def _open(self):
        self._end, opened = asyncio.Event(), asyncio.Event()
        self._life = asyncio.create_task(self._live(opened))
        waiting = asyncio.create_task(opened.wait())
        await asyncio.wait((self._life, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._life.done():
            await self._life  # raises what went wrong

    async def _live(self, opened):
        """A coredis client is an async context manager, to be left by the task that has entered it."""
        try:
            async with self._redis:
                opened.set()
                await self._end.wait()
                for subscriber in self._subscribers:
                    subscriber.cancel()
                await asyncio.gather(*self._subscribers, return_exceptions=True)
        finally:
            if self._credential:
                await self._credential.close()

    def _settings(self, request):
        options, cache, entra = request.get("options") or {}, request["cache"], request.get("entra")
        settings = {"host": cache["host"], "port": cache["port"], "ssl": True}
        if cache.get("ca_pem"):
            settings["ssl_ca_certs"] = ca_file(cache["ca_pem"])
        # What the harness leaves open stays at the library's own default.
        if options.get("pool_size"):
            settings["max_connections"] = options["pool_size"]
        if options.get("connect_timeout_ms"):
            settings["connect_timeout"] = options["connect_timeout_ms"] / 1000
        if options.get("command_timeout_ms"):
            settings["stream_timeout"] = options["command_timeout_ms"] / 1000
        if request["credential"]["kind"] == "access-key":
            return None, {**settings, "username": request.get("username"), "password": request["credential"]["access_key"]}
        credential = ClientSecretCredential(
            entra["tenant_id"],
            request["credential"]["client_id"],
            request["credential"]["client_secret"],
            authority=entra["authority_host"],
            disable_instance_discovery=True,  # it would ask login.microsoftonline.com about this issuer
            connection_verify=ca_file(entra["ca_pem"]) if entra.get("ca_pem") else True,
            connection_timeout=ISSUER_TIMEOUT * self._rate,
            read_timeout=ISSUER_TIMEOUT * self._rate,
        )
        provider = EntraCredentialProvider(credential, request["scopes"], request.get("username"))
        return credential, {**settings, "credential_provider": provider}

    def command(self, args):
        return typed(wait(self._command(args)))

    async def _command(self, args):
        """What the methods of coredis' clients do, with the reply as it came: coredis tells no simple string from a bulk string."""
        name, rest = args[0].upper().encode(), args[1:]
        if name in {command.value for command in CommandName}:
            name = CommandName(name)
        if rest:
            rest = [Key(rest[0]), *rest[1:]]
        return await CommandRequest(
            name, *rest, callback=lambda reply, **_: reply, execution_parameters={}, resolver=self._redis.execute_command
        )

    def subscribe(self, channels):
        wait(self._subscribe(channels))

    async def _subscribe(self, channels):
        confirmed = asyncio.get_running_loop().create_future()
        self._subscribers.append(asyncio.create_task(self._listen(channels, confirmed)))
        await confirmed

    async def _listen(self, channels, confirmed):
        try:
            async with self._redis.pubsub(
                ignore_subscribe_messages=True,
                channels=channels,
                subscription_timeout=SUBSCRIPTION_TIMEOUT * self._rate,
            ) as consumer:
                confirmed.set_result(None)
                async for message in consumer:
                    self._emit({"event": "message", "channel": text(message["channel"]), "value": text(message["data"])})
        except BaseException as error:
            if not confirmed.done():
                confirmed.set_exception(error)
            elif not isinstance(error, asyncio.CancelledError):
                print(f"subscriber ended: {error!r}", flush=True)
            raise

    def close(self):
        self.closed = True
        wait(self._close())

    async def _close(self):
        self._end.set()
        await asyncio.wait((self._life,))


def wait(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def typed(reply):
    return values.typed(reply, error_text)


def error_text(value):
    return " ".join(filter(None, (code_of(value), str(value)))) if isinstance(value, coredis.exceptions.RedisError) else None


# coredis takes the first word off the errors that it has a class for.
CODES = {kind: code for code, kind in Parser.EXCEPTION_CLASSES.items() if isinstance(kind, type)}


def code_of(error):
    if type(error) in CODES:
        return CODES[type(error)]
    if not isinstance(error, coredis.exceptions.ResponseError):
        return None
    word = str(error).partition(" ")[0]
    return word if word.isupper() and word not in ("WRONGPASS", "NOAUTH") else "ERR"


def describe(error):
    """An exception in the protocol's terms: the kind from the innermost one that tells it, message and name as the library gives them."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return describe(error.exceptions[0])
    kind = next((kind for kind in map(kind_of, causes(error)) if kind != "internal"), "internal")
    described = {"kind": kind, "message": str(error), "exception": type(error).__qualname__}
    if code := code_of(error):
        described["code"] = code
    return described


def causes(error):
    """The exception and those that it was raised from, the innermost first."""
    chain = []
    while error is not None:
        chain.insert(0, error)
        error = error.__cause__
    return chain


def kind_of(error):
    if isinstance(error, (AzureError, jwt.PyJWTError)):
        return "token"
    if isinstance(error, coredis.exceptions.AuthenticationError):
        return "auth"
    if isinstance(error, coredis.exceptions.ResponseError) and str(error).startswith(("WRONGPASS", "NOAUTH")):
        return "auth"  # the server wrote "ERR WRONGPASS …", a plain ResponseError to coredis
    if isinstance(error, (coredis.exceptions.ResponseError, coredis.exceptions.BusyLoadingError)):
        return "redis"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, (coredis.exceptions.ConnectionError, OSError, EOFError, anyio.EndOfStream)):
        return "network"
    if isinstance(error, (anyio.BrokenResourceError, anyio.ClosedResourceError, coredis.exceptions.RedisClusterError)):
        return "network"
    if isinstance(error, coredis.exceptions.RedisError):  # refused before anything was sent
        return "config"
    return "internal"
