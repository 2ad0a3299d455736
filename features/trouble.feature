@trouble
Feature: A client comes through trouble with its connections
  "Follow the recommended Redis client best practices to implement proper retry mechanisms for reconnecting Microsoft Entra-based
  connections." Renewal adds one more thing to every connection that can go wrong: a reply to AUTH that is late, or lost, or a
  refusal.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:trouble.refused-renewal @must @req:ENT-RETRY-1 @process
  Scenario: The cache refuses one renewal
    Given the client has opened a connection
    And the next AUTH is refused
    When the client runs a command every 25 minutes for 75 minutes
    Then an AUTH was refused by the way
    And within 10 minutes "PING" succeeds

  # Redis 7.2 to 8 lose the reply to a failing AUTH that is not the first command of its batch (redis/redis#15640).
  @id:trouble.lost-reply @must @req:ENT-RETRY-1 @process @nightly
  Scenario: The reply to one AUTH is lost
    Given the key "greeting" holds "hello"
    And the key "farewell" holds "bye"
    And the client has opened a connection
    And the reply to the next AUTH is lost
    When the client runs a command every 25 minutes for 75 minutes
    Then a reply to AUTH was lost by the way
    And within 10 minutes "GET greeting" succeeds
    And the command answers "hello"
    When the client runs "GET farewell"
    Then the command answers "bye"

  @id:trouble.late-reply @must @req:ENT-RETRY-1 @process
  Scenario: The reply to one AUTH comes after the client has stopped waiting
    Given the key "greeting" holds "hello"
    And the key "farewell" holds "bye"
    And the client has opened a connection
    And the reply to the next AUTH is held back
    When the client runs a command every 25 minutes for 75 minutes
    Then a reply to AUTH was held back by the way
    When the reply that was held back is sent
    Then within 10 minutes "GET greeting" succeeds
    And the command answers "hello"
    When the client runs "GET farewell"
    Then the command answers "bye"

  @id:trouble.dead-connections @should @req:ENT-RETRY-1
  Scenario: The connections go dead without a word
    Given the client has opened a connection
    When every connection goes dead without a word
    Then within 10 minutes "PING" succeeds

  # Users of the service have reported this wording too (dapr/components-contrib#3554).
  @id:trouble.other-wording @must @req:ENT-REFUSE-1
  Scenario: The refusal is worded differently
    Given a cache that words a refusal as "ERR WRONGPASS invalid username-password pair"
    And a service principal without an access policy
    When the client tries to run "PING"
    Then the command fails
    When the service principal is assigned the access policy "Data Owner"
    Then within 10 minutes "PING" succeeds

  @id:trouble.reboot-during-auth @must @req:ENT-RETRY-1 @process
  Scenario: The nodes reboot while the AUTH of a renewal is under way
    Given the key "greeting" holds "hello"
    And the client has opened a connection
    And the reply to the next AUTH is held back
    When the client runs a command every 5 minutes until that AUTH has come
    And the cache reboots
    And 2 minutes have passed
    Then within 10 minutes "GET greeting" succeeds
    And the command answers "hello"
    And no sign-in was refused
