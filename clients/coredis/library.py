"""What an application does with coredis: open a client, run commands and transactions, subscribe, close.

coredis knows nothing of Microsoft Entra. It asks a credential provider of the application's for a user name and a password whenever it
opens a connection, as its handbook says; the one here gets the token from azure-identity, which keeps it until five minutes before its
end. Reconnecting and retrying are coredis' own, with its defaults. Nothing here helps it, and nothing here repairs it.

coredis is used by coroutines. They run in an event loop in a thread of its own, and the threads of the conversation wait for them.
"""

import asyncio
import contextlib
import threading

import anyio
import azure.identity.aio
import coredis
import coredis.exceptions
import jwt
from azure.core.exceptions import AzureError
from coredis.commands.constants import CommandName
from coredis.credentials import AbstractCredentialProvider, UserPass
from coredis.parser import Parser
from coredis.typing import Key

import values
from entra import azure_credential
from trust import ca_file
from values import text

# Not here: resp2, which coredis gave up with 6.0; and events, because there is nothing that coredis would tell of tokens.
CAPABILITIES = [
    "credential:client-secret",
    "credential:access-key",
    "credential:managed-identity",
    "credential:certificate",
    "credential:workload-identity",
    "credential:username",
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
NAME = "coredis"
PACKAGES = ("coredis", "azure-identity", "msal", "aiohttp")  # the first one is the library under test

# Defaults that bound an exchange on the network, in seconds: coredis' for the confirmation of SUBSCRIBE, azure-core's for connecting to
# the issuer and for reading from it.
SUBSCRIPTION_TIMEOUT = 1
ISSUER_TIMEOUT = 300

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


class EntraCredentialProvider(AbstractCredentialProvider):
    """The user name is the object ID in the token, unless the application sets one. It is entered by each client that has it, and ends
    with the last of them."""

    def __init__(self, credential, scopes, username):
        self._credential, self._scopes, self._username = credential, scopes, username
        self._clients = 0

    async def __aenter__(self):
        self._clients += 1

    async def __aexit__(self, *_):
        self._clients -= 1
        if not self._clients:
            await self._credential.close()

    async def get_credentials(self):
        token = await self._credential.get_token(*self._scopes)
        username = self._username or jwt.decode(token.token, options={"verify_signature": False, "require": ["oid"]})["oid"]
        return UserPass(username, token.token)


class Client:
    def __init__(self, request, emit, shared=None):
        """emit is called with each message event, from the thread of the event loop; shared is the client whose provider is to be used."""
        self.closed = False
        self._emit = emit
        self._rate = (request.get("options") or {}).get("clock_rate") or 1
        self._tasks = set()  # subscriptions, and a transaction
        # Made here and not in the event loop, which reading the trust roots would hold up for all clients.
        settings = self._settings(request)
        if request["credential"]["kind"] == "access-key":
            self.provider = None
            settings.update(username=request.get("username"), password=request["credential"]["access_key"])
        else:
            self.provider = shared.provider if shared else self._provider(request)
            settings["credential_provider"] = self.provider
        make = coredis.RedisCluster if request["cache"].get("cluster") else coredis.Redis
        self._redis = make(**settings)
        self._end = asyncio.Event()
        self._life = wait(until_ready(self._live))

    async def _live(self, ready):
        """A coredis client is an async context manager, to be left by the task that has entered it."""
        async with self.provider or contextlib.nullcontext(), self._redis:
            ready.set_result(None)
            await self._end.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _settings(self, request):
        options, cache = request.get("options") or {}, request["cache"]
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
        return settings

    def _provider(self, request):
        timeout = ISSUER_TIMEOUT * self._rate
        credential = azure_credential(azure.identity.aio, request, connection_timeout=timeout, read_timeout=timeout)
        return EntraCredentialProvider(credential, request["scopes"], request.get("username"))

    def command(self, args):
        return typed(wait(self._command(args)))

    async def _command(self, args):
        return await request_of(self._redis, args)

    def begin(self, commands, watch):
        execute = asyncio.Event()
        transaction = wait(self._begin(lambda begun: self._transact(commands, watch, begun, execute)))

        async def run():
            execute.set()
            return await transaction

        return lambda: typed(wait(run()))

    async def _transact(self, commands, watch, begun, execute):
        """As coredis' handbook has it: a pipeline sends MULTI, the commands and EXEC when it is left, and where keys are watched when
        the block is left that watches them."""
        try:
            async with self._redis.pipeline(transaction=not watch, raise_on_error=False) as pipe:
                async with pipe.watch(*watch) if watch else contextlib.nullcontext():
                    begun.set_result(None)
                    await execute.wait()
                    for args in commands:
                        request_of(pipe, args)
        except coredis.exceptions.WatchError as error:
            if "changed" in str(error):
                return None
            raise  # the connection ended while keys were watched
        return pipe.results

    def subscribe(self, channels):
        wait(self._begin(lambda confirmed: self._listen(channels, confirmed)))

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
        except Exception as error:
            if confirmed.done():
                print(f"subscriber ended: {error!r}", flush=True)
            raise

    async def _begin(self, work):
        """Starts what goes on until the client is closed, at the latest."""
        task = await until_ready(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self):
        self.closed = True
        wait(self._close())

    async def _close(self):
        self._end.set()
        await asyncio.wait((self._life,))


def request_of(client, args):
    """What the methods of clients and pipelines do, with the reply as it came: coredis tells no simple string from a bulk string."""
    name, rest = args[0].upper().encode(), args[1:]
    if name in {command.value for command in CommandName}:
        name = CommandName(name)
    if rest:
        rest = [Key(rest[0]), *rest[1:]]
    return client.create_request(name, *rest, callback=lambda reply, **_: reply)


async def until_ready(work):
    """Starts a task of work, which is given a future, and returns the task once that is done; raises what ended it before."""
    ready = loop.create_future()
    task = asyncio.create_task(work(ready))
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        await task
    return task


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
    """The exception and those that it was raised from, the innermost first. coredis raises one from itself, where a pipeline loses its
    connection."""
    chain = []
    while error is not None and error not in chain:
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
