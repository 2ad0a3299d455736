"""The driver's manners, without a cache or an issuer. README.md says how to run it."""

import sys
import unittest
from pathlib import Path

import anyio
import coredis
import jwt
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from coredis.parser import Parser

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "python-driver"))

import library
import manners
from manners import closed_port


class Manners(manners.Manners, unittest.TestCase):
    folder, library, noisy = HERE, library, "coredis.Redis"

    def test_an_open_that_fails_leaves_no_client(self):
        driver = self.driver()
        # A cluster is looked over when its client is made; a single cache is not connected to before the first command.
        cache = {"host": "127.0.0.1", "port": closed_port(), "cluster": True}
        self.assert_error(driver.ask(1, "open", client="c", cache=cache, credential=manners.ACCESS_KEY), 1, "network")
        self.assert_error(driver.ask(2, "close", client="c"), 2, "closed")


class Transactions(manners.Transactions, unittest.TestCase):
    library, redis = library, coredis


class Credentials(unittest.TestCase):
    class Issuer:
        closed = False

        async def get_token(self, *scopes):
            self.scopes = scopes
            claims = jwt.encode({"oid": "the object ID"}, "a key that is long enough for HS256")
            return type("AccessToken", (), {"token": claims})

        async def close(self):
            self.closed = True

    def test_the_last_client_that_has_them_ends_them(self):
        issuer = self.Issuer()
        credentials = library.EntraCredentialProvider(issuer, ["scope"], None)

        async def open_and_close():
            async with credentials:
                async with credentials:
                    pass
                self.assertFalse(issuer.closed)

        library.wait(open_and_close())
        self.assertTrue(issuer.closed)

    def test_the_user_name_is_the_object_id_unless_it_is_set(self):
        for configured, want in ((None, "the object ID"), ("by hand", "by hand")):
            issuer = self.Issuer()
            credentials = library.wait(library.EntraCredentialProvider(issuer, ["scope"], configured).get_credentials())
            self.assertEqual(credentials.username, want)
            self.assertEqual(issuer.scopes, ("scope",))
            self.assertTrue(credentials.password.startswith("ey"))


def malformed_token():
    try:
        jwt.decode("two.parts", options={"verify_signature": False})
    except jwt.PyJWTError as error:
        return error


def caused_by(cause):
    error = coredis.exceptions.ConnectionError("Unable to establish a connection")
    error.__cause__ = cause
    return error


def caused_by_itself():
    error = caused_by(None)
    error.__cause__ = error
    return error


class Replies(unittest.TestCase):
    def test_an_error_within_a_reply_has_its_first_word(self):
        denied = Parser().parse_error("NOPERM no")
        self.assertEqual(library.typed([b"OK", denied])["value"][1], {"type": "error", "value": "NOPERM no"})

    def test_error_kinds(self):
        def server_says(line):
            return Parser().parse_error(line)

        for error, kind, code in [
            (server_says("NOPERM this user has no permissions"), "redis", "NOPERM"),
            (server_says("WRONGTYPE Operation against a key"), "redis", "WRONGTYPE"),
            (server_says("ERR unknown command"), "redis", "ERR"),
            (server_says("ERR something else"), "redis", "ERR"),
            (server_says("LOADING Redis is loading"), "redis", "LOADING"),
            (server_says("READONLY You can't write"), "redis", "READONLY"),
            (server_says("WRONGPASS invalid username-password pair"), "auth", "WRONGPASS"),
            (server_says("ERR WRONGPASS invalid username-password pair"), "auth", "ERR"),
            (server_says("NOAUTH Authentication required."), "auth", "NOAUTH"),
            (caused_by(ClientAuthenticationError("AADSTS7000215")), "token", None),
            (caused_by(ServiceRequestError("503")), "token", None),
            (caused_by(caused_by(anyio.EndOfStream())), "network", None),
            (caused_by(malformed_token()), "token", None),
            (caused_by(TimeoutError()), "timeout", None),
            (caused_by(ConnectionResetError("reset")), "network", None),
            (caused_by_itself(), "network", None),
            (TimeoutError("PING timed out"), "timeout", None),
            (ExceptionGroup("one", [coredis.exceptions.ConnectionError("lost")]), "network", None),
            (coredis.exceptions.DataError("Invalid input"), "config", None),
            (KeyError("client"), "internal", None),
        ]:
            with self.subTest(error=error):
                described = library.describe(error)
                self.assertEqual((described["kind"], described.get("code")), (kind, code))


if __name__ == "__main__":
    unittest.main()
