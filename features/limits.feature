@limits
Feature: A client lives with the limits of the service
  "Azure Cache for Redis has a 10-minute timeout for idle connections." And a cache takes a number of clients that depends on its
  size: "Once the limit is reached Redis closes all the new connections, returning a 'max number of clients reached' error."

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And tokens that live for 60 minutes

  @id:limits.idle @must @req:ENT-IDLE-1
  Scenario: A connection that was closed because it was idle is replaced
    Given a cache that closes a connection when it has been idle for 10 minutes
    And a service principal with the access policy "Data Owner"
    And the client has opened a connection
    When the client is left idle for 30 minutes
    Then within 10 minutes "PING" succeeds
    And no sign-in was refused

  @id:limits.max-clients @must @req:ENT-CLIENTS-1
  Scenario: A cache that is full turns the client away, and takes it once there is room
    Given a cache that takes 40 clients
    And a service principal with the access policy "Data Owner"
    And 40 other clients are connected
    When the client tries to run "PING"
    Then the command fails
    When the other clients have left
    Then within 10 minutes "PING" succeeds
