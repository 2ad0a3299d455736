@keys
Feature: Access keys are disabled
  "When you disable access key authentication for a cache, all existing client connections are terminated, whether they use
  access keys or Microsoft Entra authentication."

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:keys.entra-client-comes-back @must @req:ENT-KEYS-1 @nightly
  Scenario: A client that uses Microsoft Entra is cut off and comes back
    Given the client has opened a connection
    When access keys are disabled
    Then every connection of the client was closed because access keys changed
    And within 10 minutes "PING" succeeds
    And no sign-in was refused

  @id:keys.changed-twice @must @req:ENT-KEYS-3
  Scenario: Access keys are disabled and enabled again
    Given the client has opened a connection
    When access keys are disabled
    Then within 10 minutes "PING" succeeds
    When the client has opened a connection
    And access keys are enabled
    Then every connection of the client was closed because access keys changed
    And within 10 minutes "PING" succeeds
    And no sign-in was refused

  @id:keys.key-works-before @must @req:ENT-KEYS-2 @needs:credential:access-key
  Scenario: An access key works while keys are enabled
    Given the application uses the primary access key
    When the client runs "SET greeting hello"
    And the client runs "GET greeting"
    Then the command answers "hello"
    And every sign-in used an access key

  # Twice, because the first command may do no more than find out that the connection is gone.
  @id:keys.key-refused-after @must @req:ENT-KEYS-1 @needs:credential:access-key
  Scenario: An access key is refused once keys are disabled, and the application is told
    Given the application uses the primary access key
    And the client has opened a connection
    When access keys are disabled
    And the client tries to run "PING"
    And the client tries to run "PING"
    Then the command fails
    And a sign-in was refused because access keys are disabled

  @id:keys.entra-enabled @must @req:ENT-REBOOT-1 @needs:credential:access-key
  Scenario: Microsoft Entra is enabled while an application still uses an access key
    Given a cache on which Microsoft Entra authentication is not enabled
    And the application uses the primary access key
    And the client has opened a connection
    When Microsoft Entra authentication is enabled, and the nodes are away for 15 minutes
    And 15 minutes have passed
    Then every connection that was open has ended
    And within 10 minutes "PING" succeeds
