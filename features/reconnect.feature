@reconnect
Feature: A client comes back after the cache has closed its connections
  "Follow the recommended Redis client best practices to implement proper retry mechanisms for reconnecting Microsoft
  Entra-based connections."

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:reconnect.after-reboot @must @req:ENT-RETRY-1
  Scenario: A reboot of the nodes is survived
    Given the client has opened a connection
    When the cache reboots
    Then within 10 minutes "PING" succeeds
    And no sign-in was refused

  @id:reconnect.after-outage @must @req:ENT-REBOOT-1 @process @nightly
  Scenario: Nodes that are away for a while are waited for
    Given the client has opened a connection
    When the cache reboots and is away for 15 minutes
    And the client tries to run "PING"
    And 15 minutes have passed
    Then within 10 minutes "PING" succeeds
    And no sign-in was refused

  @id:reconnect.fresh-token @must @req:ENT-PASS-2 @nightly
  Scenario: A reconnect after the first token's life signs in with a fresh token at the first attempt
    Given the client has opened a connection
    And 75 minutes have passed
    When the cache reboots
    Then within 10 minutes "PING" succeeds
    And no sign-in was refused
    And the newest connection signed in with a token other than the first one

  @id:reconnect.renewed-again @must @req:ENT-REFRESH-1 @nightly
  Scenario: A connection made after a reboot is renewed like the first
    Given the client has opened a connection
    When the cache reboots
    Then within 10 minutes "PING" succeeds
    When 75 minutes have passed
    Then no connection was closed because its token expired
