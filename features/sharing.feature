@sharing
Feature: Clients of one application share what gets their tokens
  "The extension manages the authentication token, including proactively refreshing tokens before they expire to maintain persistent
  Redis connections." An application that has two clients gives both the same credentials provider. Each of them has connections to renew.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:sharing.both-renewed @must @req:ENT-REFRESH-1 @needs:shared-provider
  Scenario: The connections of both clients are renewed
    Given the client has opened a connection
    And a second client has opened a connection, with the credentials provider of the first
    When both clients run a command every 5 minutes for 75 minutes
    Then every command succeeded
    And every connection that the client kept has sent AUTH with a newer token before the old one expired
    And no connection was closed by the cache

  @id:sharing.one-closed @must @req:ENT-REFRESH-1 @needs:shared-provider
  Scenario: One of the clients is closed, and the other is still renewed
    Given the client has opened a connection
    And a second client has opened a connection, with the credentials provider of the first
    When the client is closed
    And the second client runs a command every 5 minutes for 150 minutes
    Then every command succeeded
    And no connection was closed by the cache
    And the client has signed in with at least 3 different tokens
