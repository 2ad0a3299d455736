@outage
Feature: A client outlives the failures of the issuer
  "… proactively refreshing tokens before they expire to maintain persistent Redis connections over multiple days." In days an
  issuer fails now and then, for a request or for an hour.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:outage.one-error @should @req:ENT-REFRESH-3 @process @nightly
  Scenario: One failed token request does not cost the connection
    Given the client has opened a connection
    And the issuer answers the next token request with HTTP status 503
    When the client runs a command every 5 minutes for 75 minutes
    Then the issuer has failed 1 token request
    And every command succeeded
    And no connection was closed by the cache

  @id:outage.recovers @must @req:ENT-RETRY-1 @process
  Scenario: After an outage longer than the token's life the client comes back by itself
    Given the client has opened a connection
    When 30 minutes have passed
    And the issuer goes down
    And 75 minutes have passed
    And the issuer is back
    Then within 60 minutes "PING" succeeds
    And the newest connection signed in with a token other than the first one

  @id:outage.error-reaches-caller @must @req:ENT-EXPIRE-1 @process
  Scenario: While no token can be had, the caller gets an error and not silence
    Given the client has opened a connection
    When the issuer goes down
    And 75 minutes have passed
    Then every connection that was open has ended
    When the client tries to run "PING"
    Then the command fails
