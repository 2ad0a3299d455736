@close
Feature: A client is closed
  "The extension manages the authentication token, including proactively refreshing tokens before they expire to maintain persistent
  Redis connections over multiple days." What works in the background must not outlive the client, nor take the application down.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:close.during-renewal @must @req:ENT-LIVE-1 @process @nightly
  Scenario: Closing a client while its next token is being fetched does not take the application down
    Given the client has opened a connection
    And the issuer keeps its answers back from now on
    When a token has been asked for again
    And the client is closed before the answer comes
    And 30 minutes have passed
    Then the application lives on

  @id:close.quiet @should @req:ENT-LIVE-2
  Scenario: A closed client asks for no more tokens, and opens no more connections
    Given the client has opened a connection
    When the client is closed
    And 150 minutes have passed
    Then the issuer was asked for no token since the client was closed
    And no connection was opened since the client was closed
    And the client has no connection open
