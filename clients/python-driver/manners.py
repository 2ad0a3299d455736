"""The tests of a driver's manners, without a cache or an issuer, which each driver runs on itself."""

import importlib.metadata
import json
import os
import queue
import re
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import types
import unittest.mock
from pathlib import Path

LONG = 30  # seconds; the bound of everything that must happen
ACCESS_KEY = {"kind": "access-key", "access_key": "secret"}


class Driver:
    """A running driver. Messages of its stdout arrive in a queue; a line that is not JSON arrives as the exception."""

    def __init__(self, test, folder, **environment):
        self.stderr = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-B", "driver.py"],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
        )
        self.messages = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        test.addCleanup(self._stop)

    def _read(self):
        for line in self.process.stdout:
            try:
                self.messages.put(json.loads(line))
            except ValueError as error:
                self.messages.put(error)

    def _stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass

    def send_line(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, id, op, **fields):
        self.send_line(json.dumps({"id": id, "op": op, **fields}).encode())

    def next(self):
        message = self.messages.get(timeout=LONG)
        if isinstance(message, Exception):
            raise message
        return message

    def ask(self, id, op, **fields):
        self.send(id, op, **fields)
        return self.next()

    def open_with_access_key(self, id, client, port, **fields):
        cache = {"host": "127.0.0.1", "port": port}
        return self.ask(id, "open", client=client, cache=cache, credential=ACCESS_KEY, **fields)

    def wait_exit(self):
        return self.process.wait(timeout=LONG)


def silent_listener(test):
    """The port of a listener that takes connections into its backlog and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    test.addCleanup(listener.close)
    return listener.getsockname()[1]


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Cache(socketserver.ThreadingTCPServer):
    """Answers each command with the reply, in RESP, that answers have for its name, and remembers it. Without TLS."""

    daemon_threads = True
    WELL = {"HELLO": "%3\r\n+proto\r\n:3\r\n+version\r\n+6.0.0\r\n+id\r\n:1\r\n", "INCR": "+QUEUED\r\n", "EXEC": "*2\r\n:1\r\n:2\r\n"}

    def __init__(self, test, **answers):
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers, self.commands = {**self.WELL, **answers}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()
        test.addCleanup(self.server_close)
        test.addCleanup(self.shutdown)


class Answering(socketserver.StreamRequestHandler):
    def handle(self):
        while (line := self.rfile.readline()).startswith(b"*"):
            args = []
            for _ in range(int(line[1:])):
                self.rfile.readline()  # the length
                args.append(self.rfile.readline().decode().strip())
            name = args[0].upper()
            if name not in ("HELLO", "CLIENT"):
                self.server.commands.append(" ".join(args))
            self.wfile.write(self.server.answers.get(name, "+OK\r\n").encode())


class Transactions:
    """Mixed into a unittest.TestCase. library is the driver's module, redis that of the library under test."""

    library: types.ModuleType
    redis: types.ModuleType

    WHOLE = ["MULTI", "INCR a", "INCR b", "EXEC"]

    def open(self, cache):
        make = self.redis.Redis

        def without_tls(**settings):
            return make(**{name: value for name, value in settings.items() if not name.startswith("ssl")})

        request = {"cache": {"host": "127.0.0.1", "port": cache.server_address[1]}, "credential": ACCESS_KEY}
        with unittest.mock.patch.object(self.redis, "Redis", without_tls):
            client = self.library.Client(request, print)
        self.addCleanup(client.close)
        return client

    def begin(self, cache, *watch):
        return self.open(cache).begin([["INCR", "a"], ["INCR", "b"]], list(watch))

    def assert_sent(self, cache, commands):
        """Behind them there may be an UNWATCH."""
        self.assertEqual(cache.commands[: len(commands)], commands)

    def test_it_is_sent_as_a_whole(self):
        cache = Cache(self)
        run = self.begin(cache)
        self.assertEqual(cache.commands, [])
        self.assertEqual([item["value"] for item in run()["value"]], [1, 2])
        self.assert_sent(cache, self.WHOLE)

    def test_keys_are_watched_before(self):
        cache = Cache(self)
        run = self.begin(cache, "a", "b")
        self.assertEqual(cache.commands, ["WATCH a b"])
        self.assertEqual([item["value"] for item in run()["value"]], [1, 2])
        self.assert_sent(cache, ["WATCH a b", *self.WHOLE])

    def test_a_watched_key_had_changed(self):
        self.assertEqual(self.begin(Cache(self, EXEC="_\r\n"), "a")()["type"], "null")

    def test_a_command_is_denied(self):
        run = self.begin(Cache(self, INCR="-NOPERM no\r\n", EXEC="-EXECABORT no\r\n"))
        with self.assertRaises(Exception) as raised:
            run()
        self.assertEqual(self.library.describe(raised.exception)["kind"], "redis")

    def test_one_that_was_not_run_does_not_hold_up_the_end(self):
        cache = Cache(self)
        client = self.open(cache)
        client.begin([["INCR", "a"]], ["a"])
        client.close()
        self.assertNotIn("MULTI", cache.commands)


class Manners:
    """Mixed into a unittest.TestCase. folder is the driver's, library its module, and noisy names the class that it makes clients of."""

    folder: Path
    library: types.ModuleType
    noisy: str

    def driver(self, **environment):
        return Driver(self, self.folder, **environment)

    def assert_error(self, reply, id, kind):
        self.assertEqual((reply["id"], reply["ok"]), (id, False), reply)
        self.assertEqual(reply["error"]["kind"], kind, reply)

    def test_hello_tells_installed_versions_and_pinned_capabilities(self):
        reply = self.driver().ask(1, "hello", protocol=1, harness="test")
        self.assertTrue(reply["ok"], reply)
        self.assertEqual(reply["protocol"], 1)
        libraries = reply["driver"]["libraries"]
        installed = [{"name": name, "version": importlib.metadata.version(name)} for name in self.library.PACKAGES]
        self.assertEqual(libraries, installed)
        pinned = (self.folder / "client.yaml").read_text().split("capabilities:")[1]
        self.assertEqual(reply["capabilities"], re.findall(r"- (\S+)", pinned))

    def test_another_protocol_is_unsupported(self):
        self.assert_error(self.driver().ask(1, "hello", protocol=2), 1, "unsupported")

    def test_unknown_op_and_unknown_credential_are_unsupported(self):
        driver = self.driver()
        self.assert_error(driver.ask(1, "dance"), 1, "unsupported")
        cache = {"host": "127.0.0.1", "port": 1}
        self.assert_error(driver.ask(2, "open", client="c", cache=cache, credential={"kind": "smile"}), 2, "unsupported")
        self.assert_error(driver.ask(3, "command", client="c", args=["PING"]), 3, "closed")

    def test_unknown_client_is_closed(self):
        driver = self.driver()
        self.assert_error(driver.ask(1, "command", client="c", args=["PING"]), 1, "closed")
        self.assert_error(driver.ask(2, "subscribe", client="c", channels=["news"]), 2, "closed")
        self.assert_error(driver.ask(3, "close", client="c"), 3, "closed")
        self.assert_error(driver.ask(4, "begin", client="c", commands=[["INCR", "k"]]), 4, "closed")
        self.assert_error(driver.ask(5, "exec", client="c"), 5, "closed")
        self.assert_error(driver.open_with_access_key(6, "d", 1, provider_of="c"), 6, "closed")

    def test_a_transaction_is_run_once_and_begun_before(self):
        driver = self.driver()
        driver.open_with_access_key(1, "c", closed_port())
        self.assert_error(driver.ask(2, "exec", client="c"), 2, "config")
        self.assertEqual(driver.ask(3, "begin", client="c", commands=[["INCR", "k"]]), {"id": 3, "ok": True})
        self.assert_error(driver.ask(4, "exec", client="c"), 4, "network")
        self.assert_error(driver.ask(5, "exec", client="c"), 5, "config")
        self.assert_error(driver.ask(6, "begin", client="c", commands=[["INCR", "k"]], watch=["k"]), 6, "network")
        driver.ask(7, "begin", client="c", commands=[["INCR", "k"]])
        self.assertEqual(driver.ask(8, "close", client="c"), {"id": 8, "ok": True})
        driver.open_with_access_key(9, "c", closed_port())
        self.assert_error(driver.ask(10, "exec", client="c"), 10, "config")

    def test_a_closed_client_is_closed_and_its_name_is_free(self):
        driver, port = self.driver(), closed_port()
        self.assertTrue(driver.open_with_access_key(1, "c", port)["ok"])
        self.assert_error(driver.open_with_access_key(2, "c", port), 2, "config")
        self.assertTrue(driver.ask(3, "close", client="c")["ok"])
        self.assert_error(driver.ask(4, "command", client="c", args=["PING"]), 4, "closed")
        self.assertTrue(driver.open_with_access_key(5, "c", port)["ok"])

    def test_no_cache_is_a_network_error(self):
        driver = self.driver()
        driver.open_with_access_key(1, "c", closed_port())
        reply = driver.ask(2, "command", client="c", args=["PING"])
        self.assert_error(reply, 2, "network")
        self.assertEqual(reply["error"]["exception"], "ConnectionError")

    def test_a_blocked_command_holds_up_neither_others_nor_the_end(self):
        driver = self.driver()
        driver.open_with_access_key(1, "c", silent_listener(self), options={"connect_timeout_ms": 600_000})
        driver.send(2, "command", client="c", args=["BLPOP", "k", "0"])
        driver.send(3, "command", client="c", args=["PING"])
        self.assert_error(driver.ask(4, "dance"), 4, "unsupported")
        self.assertEqual(driver.ask(5, "shutdown"), {"id": 5, "ok": True})
        self.assertEqual(driver.wait_exit(), 0)

    def test_a_line_that_is_no_request_is_skipped(self):
        driver = self.driver()
        driver.send_line(b"{broken")
        driver.send_line(b"[1]")
        self.assertTrue(driver.ask(1, "hello", protocol=1)["ok"])

    def test_what_a_library_prints_goes_to_stderr(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "sitecustomize.py").write_text(
                f"import os, {self.noisy.split('.')[0]} as module\n"
                f"noisy = module.{self.noisy.split('.')[1]}\n"
                "quiet = noisy.__init__\n"
                "def loud(self, *args, **kwargs):\n"
                "    print('{noise by print')\n"
                "    os.write(1, b'{noise by descriptor\\n')\n"
                "    quiet(self, *args, **kwargs)\n"
                "noisy.__init__ = loud\n"
            )
            driver = self.driver(PYTHONPATH=folder)
            self.assertEqual(driver.open_with_access_key(1, "c", 1), {"id": 1, "ok": True})
            self.assertEqual(driver.ask(2, "shutdown"), {"id": 2, "ok": True})
            self.assertEqual(driver.wait_exit(), 0)
            driver.stderr.seek(0)
            heard = driver.stderr.read()
            self.assertIn("{noise by print", heard)
            self.assertIn("{noise by descriptor", heard)
            self.assertTrue(driver.messages.empty())

    def test_end_of_stdin_is_the_end(self):
        driver = self.driver()
        driver.process.stdin.close()
        self.assertEqual(driver.wait_exit(), 0)
