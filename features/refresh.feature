@refresh
Feature: A connection outlives its token
  "Ensure that your client application sends a new Microsoft Entra token at least three minutes before token expiry to avoid
  connection disruption."

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:refresh.same-connection @must @req:ENT-REFRESH-1 @nightly
  Scenario: A connection in use is renewed in place
    Given the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And every connection that the client kept has sent AUTH with a newer token before the old one expired
    And no connection was closed by the cache

  @id:refresh.three-minutes-before @must @req:ENT-REFRESH-2 @nightly
  Scenario: The new token is sent at least three minutes before the old one expires
    Given the client has opened a connection
    When the client is left idle for 75 minutes
    Then every connection that the client kept has sent AUTH with a newer token at least 3 minutes before the old one expired

  @id:refresh.idle-pool @must @req:ENT-REFRESH-2 @needs:pool @nightly
  Scenario: An idle pooled connection is renewed too
    Given the client has opened 3 connections
    When the client is left idle for 75 minutes
    Then every one of the 3 connections that the client kept has sent AUTH with a newer token at least 3 minutes before the old one expired
    And no connection was closed by the cache
    When the client runs "PING"
    Then the command succeeds

  @id:refresh.again-and-again @must @req:ENT-EXPIRE-1
  Scenario: The connection lives through three tokens
    Given the client has opened a connection
    When the client runs a command every 10 minutes for 150 minutes
    Then every command succeeded
    And no connection was closed by the cache
    And the client has signed in with at least 3 different tokens

  @id:refresh.new-connection-new-token @must @req:ENT-PASS-2 @needs:pool @nightly
  Scenario: A connection that the pool opens after the refresh signs in with the refreshed token
    Given the client has opened a connection
    And 75 minutes have passed
    When the client opens connections until it has 3
    Then no sign-in was refused
    And the newest connection signed in with a token other than the first one

  @id:refresh.token-requests-bounded @should @req:ENT-LOAD-1 @nightly
  Scenario: Tokens are asked for at a quiet pace
    Given the client has opened a connection
    When the client runs a command every 1 minutes for 75 minutes
    Then the issuer was asked for a token at most 6 times
