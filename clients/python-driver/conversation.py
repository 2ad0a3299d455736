"""What the drivers in Python share: the conversation with the harness.

The harness starts a driver once and talks to it in lines of JSON: requests on stdin, replies and events on stdout, in any order.
Every request runs in a thread of its own, so that a blocking command holds up nobody. What the requests do with a Redis library is
in the driver's own library.py, which is handed to main(); nothing here knows about Redis.

library.py has the driver's NAME; PACKAGES, which are reported with their versions, the one under test first; CAPABILITIES;
describe(error), which returns JSON; and the class Client, made of a request and of what takes its message events, with command(args),
subscribe(channels), close() and the attribute closed. If CAPABILITIES have transactions, begin(commands, watch) returns what runs the
transaction and returns its reply; and if they have shared-provider, a Client is made of another one as well, whose provider it shares.
"""

import os
import sys

# Import this module before any library: the protocol keeps the real stdout for itself, and whatever a library prints from now on
# goes to stderr, where it cannot land inside a line of JSON.
protocol_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
sys.stdout = sys.stderr

import contextlib
import importlib.metadata
import json
import platform
import threading
import traceback

PROTOCOL = 1
MAX_LINE = 1 << 20  # bytes; the protocol's limit for one message

library = None  # the driver's own module
clients = {}  # name -> library.Client
transactions = {}  # name -> what runs the one that its client has begun
clients_lock = threading.Lock()  # guards both
out_lock = threading.Lock()


class Refused(Exception):
    """The driver's own "no": kind is one of the protocol's error kinds."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def send(message):
    line = json.dumps(message, allow_nan=False) + "\n"  # ASCII only: characters are bytes
    if len(line) > MAX_LINE:
        excess = f"the message has {len(line)} bytes, the protocol allows {MAX_LINE}"
        line = json.dumps({"id": message.get("id"), "ok": False, "error": {"kind": "internal", "message": excess}}) + "\n"
    with out_lock:
        protocol_out.write(line)
        protocol_out.flush()


def client_named(name):
    with clients_lock:
        if name not in clients:
            raise Refused("closed", f"client {name!r} is not open: it was closed, or never opened")
        return clients[name]


def hello(request):
    if request.get("protocol") != PROTOCOL:
        raise Refused("unsupported", f"this driver speaks protocol {PROTOCOL}, not {request.get('protocol')!r}")
    driver = {
        "name": library.NAME,
        "language": "python",
        "libraries": [{"name": name, "version": importlib.metadata.version(name)} for name in library.PACKAGES],
        "runtime": f"{platform.python_implementation()} {platform.python_version()}",
        "os": f"{platform.system()}/{platform.machine()}".lower(),
    }
    return {"protocol": PROTOCOL, "driver": driver, "capabilities": library.CAPABILITIES}


def open_client(request):
    name, kind = request["client"], request["credential"]["kind"]
    if f"credential:{kind}" not in library.CAPABILITIES:
        raise Refused("unsupported", f"credential kind {kind!r}: expected one of {', '.join(library.CAPABILITIES)}")
    with clients_lock:
        if name in clients:
            raise Refused("config", f"client {name!r} is open already: close it first")
    shared = [client_named(request["provider_of"])] if request.get("provider_of") else []
    client = library.Client(request, lambda event: send({**event, "client": name}), *shared)
    with clients_lock:
        clients[name] = client


@contextlib.contextmanager
def running(client):
    try:
        yield
    except Exception as error:
        if client.closed:
            raise Refused("closed", f"closed while the command ran: {type(error).__name__}: {error}") from error
        raise


def command(request):
    client = client_named(request["client"])
    with running(client):
        return {"reply": client.command(request["args"])}


def subscribe(request):
    client_named(request["client"]).subscribe(request["channels"])


def begin(request):
    run = client_named(request["client"]).begin(request["commands"], request.get("watch", []))
    with clients_lock:
        transactions[request["client"]] = run


def execute(request):
    client = client_named(request["client"])
    with clients_lock:
        run = transactions.pop(request["client"], None)
    if run is None:
        raise Refused("config", "no transaction was begun")
    with running(client):
        return {"reply": run()}


def close(request):
    client = client_named(request["client"])
    with clients_lock:
        clients.pop(request["client"], None)
        transactions.pop(request["client"], None)
    client.close()


OPERATIONS = {
    "hello": hello,
    "open": open_client,
    "command": command,
    "subscribe": subscribe,
    "begin": begin,
    "exec": execute,
    "close": close,
}


def answer(request):
    reply = {"id": request.get("id"), "ok": True}
    try:
        operation = OPERATIONS.get(request.get("op"))
        if operation is None:
            raise Refused("unsupported", f"op {request.get('op')!r}: expected one of {', '.join(OPERATIONS)}, shutdown")
        reply.update(operation(request) or {})
    except Refused as refusal:
        reply.update(ok=False, error={"kind": refusal.kind, "message": str(refusal)})
    except Exception as error:
        reply.update(ok=False, error=library.describe(error))
        if reply["error"]["kind"] == "internal":
            traceback.print_exc()
    send(reply)


def main(module):
    global library
    library = module
    for line in sys.stdin.buffer:
        try:
            request = json.loads(line)
            op = request.get("op")
        except (ValueError, AttributeError):
            print(f"driver: not a request, ignored: {line[:200]!r}", file=sys.stderr)
            continue
        if op == "shutdown":
            send({"id": request.get("id"), "ok": True})
            return
        # Daemon: a command that is still blocked must not keep the process alive after shutdown.
        threading.Thread(target=answer, args=(request,), daemon=True).start()
