@policy
Feature: Access policies allow and deny
  "Role-based access control functionality provided through access control lists (ACLs) supported in open-source Redis."
  The client's own commands at connect time are subject to the policy too: a client must start up under every one.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And tokens that live for 60 minutes

  @id:policy.owner-may-everything @must @req:ENT-ACL-1
  Scenario: Data Owner may run a dangerous command
    Given a service principal with the access policy "Data Owner"
    When the client runs "FLUSHALL"
    Then the command succeeds

  @id:policy.contributor-reads-and-writes @must @req:ENT-ACL-1
  Scenario: Data Contributor reads and writes
    Given a service principal with the access policy "Data Contributor"
    When the client runs "SET greeting hello"
    And the client runs "GET greeting"
    Then the command answers "hello"

  @id:policy.contributor-denied @must @req:ENT-ACL-1
  Scenario: Data Contributor is denied a dangerous command, and the caller is told
    Given a service principal with the access policy "Data Contributor"
    When the client tries to run "FLUSHALL"
    Then the command fails with "NOPERM"
    And the cache has denied "flushall"
    When the client runs "SET greeting hello"
    Then the command succeeds

  @id:policy.reader-reads @must @req:ENT-ACL-1
  Scenario: Data Reader reads
    Given a service principal with the access policy "Data Reader"
    And the key "greeting" holds "hello"
    When the client runs "GET greeting"
    Then the command answers "hello"

  @id:policy.reader-denied @must @req:ENT-ACL-1
  Scenario: Data Reader is denied a write, and the caller is told
    Given a service principal with the access policy "Data Reader"
    And the key "greeting" holds "hello"
    When the client tries to run "SET greeting bye"
    Then the command fails with "NOPERM"
    And the cache has denied "set"
    When the client runs "GET greeting"
    Then the command answers "hello"

  @id:policy.blocked-command @must @req:ENT-BLOCK-1
  Scenario: A blocked command is answered with an error, and the client goes on
    Given a service principal with the access policy "Data Owner"
    When the client tries to run "CONFIG GET maxmemory"
    Then the command fails with "unknown command"
    When the client runs "PING"
    Then the command succeeds

  @id:policy.custom-keys @must @req:ENT-ACL-1
  Scenario: A custom policy allows some keys only
    Given a custom access policy "Orders" with the permissions "+@all -@dangerous ~orders:*"
    And a service principal with the access policy "Orders"
    When the client runs "SET orders:1 shipped"
    And the client tries to run "GET customers:1"
    Then the command fails with "NOPERM"
    And the cache has denied "get"
    When the client runs "GET orders:1"
    Then the command answers "shipped"

  @id:policy.changed-while-connected @must @req:ENT-ACL-1
  Scenario: Another policy is assigned while the client is connected
    Given a service principal with the access policy "Data Owner"
    And the client has opened a connection
    When the service principal is assigned the access policy "Data Reader"
    And the client tries to run "SET greeting hello"
    Then the command fails with "NOPERM"
    When the service principal is assigned the access policy "Data Contributor"
    And the client runs "SET greeting hello"
    And the client runs "GET greeting"
    Then the command answers "hello"

  # Whether the service closes the connections of somebody who is not assigned any more is not documented. The fake cache does, as
  # Redis does with those of a deleted user; the client has to cope either way. The first command may do no more than find out that the
  # connection is gone: a client that cannot know whether the cache has run it does not send it again.
  @id:policy.removed @must @req:ENT-RETRY-1
  Scenario: Who is not assigned any more is refused, and comes in again once assigned
    Given a service principal with the access policy "Data Owner"
    And the client has opened a connection
    When the access policy of the service principal is removed
    Then every connection that was open has ended
    When the client tries to run "PING"
    And the client tries to run "PING"
    Then the command fails
    And a sign-in was refused because no access policy is assigned
    When the service principal is assigned the access policy "Data Owner"
    Then within 10 minutes "PING" succeeds
