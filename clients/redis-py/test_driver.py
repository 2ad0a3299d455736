"""The driver's manners, without a cache or an issuer. README.md says how to run it."""

import sys
import unittest
from pathlib import Path

import redis

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "python-driver"))

import library
import manners
from manners import closed_port


class Manners(manners.Manners, unittest.TestCase):
    folder, library, noisy = HERE, library, "redis.Redis"

    def test_an_open_that_fails_leaves_no_client(self):
        driver = self.driver()
        authority = f"https://127.0.0.1:{closed_port()}/tenant"
        reply = driver.ask(
            1,
            "open",
            client="c",
            cache={"host": "127.0.0.1", "port": 1},
            entra={"authority": authority},
            credential={"kind": "client-secret", "client_id": "id", "client_secret": "secret"},
            scopes=["https://redis.azure.com/.default"],
        )
        self.assert_error(reply, 1, "token")
        self.assert_error(driver.ask(2, "close", client="c"), 2, "closed")


class Transactions(manners.Transactions, unittest.TestCase):
    library, redis = library, redis


class Replies(unittest.TestCase):
    def test_types(self):
        for value, want in [
            (None, {"type": "null", "value": None}),
            (True, {"type": "boolean", "value": True}),
            (1, {"type": "integer", "value": 1}),
            (1.5, {"type": "double", "value": 1.5}),
            (float("inf"), {"type": "double", "value": "inf"}),
            (b"\xff", {"type": "bulk", "value": "\ufffd"}),
            (
                [b"a", [1]],
                {
                    "type": "array",
                    "value": [
                        {"type": "bulk", "value": "a"},
                        {"type": "array", "value": [{"type": "integer", "value": 1}]},
                    ],
                },
            ),
            ({b"k": 1}, {"type": "map", "value": [[{"type": "bulk", "value": "k"}, {"type": "integer", "value": 1}]]}),
            (redis.exceptions.NoPermissionError("no", status_code="NOPERM"), {"type": "error", "value": "NOPERM no"}),
        ]:
            with self.subTest(value=value):
                self.assertEqual(library.typed(value), want)

    def test_error_kinds(self):
        def server_says(line):
            return redis.connection.DefaultParser.parse_error(line)

        for error, kind, code in [
            (server_says("NOPERM this user has no permissions"), "redis", "NOPERM"),
            (server_says("WRONGTYPE Operation against a key"), "redis", "WRONGTYPE"),
            (server_says("ERR unknown command"), "redis", "ERR"),
            (server_says("LOADING Redis is loading"), "redis", "LOADING"),
            (server_says("WRONGPASS invalid username-password pair"), "auth", "WRONGPASS"),
            (server_says("ERR WRONGPASS invalid username-password pair"), "auth", "ERR"),
            (server_says("NOAUTH Authentication required."), "auth", "NOAUTH"),
            (library.RequestTokenErr("AADSTS7000215"), "token", None),
            (library.TokenUnavailable("503"), "token", None),
            (redis.TimeoutError("Timeout reading from socket"), "timeout", None),
            (redis.ConnectionError("Connection closed by server."), "network", None),
            (ConnectionResetError("reset"), "network", None),
            (redis.DataError("Invalid input of type: 'NoneType'"), "config", None),
            (KeyError("client"), "internal", None),
        ]:
            with self.subTest(error=error):
                described = library.describe(error)
                self.assertEqual((described["kind"], described.get("code")), (kind, code))


if __name__ == "__main__":
    unittest.main()
