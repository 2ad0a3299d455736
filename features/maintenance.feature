@maintenance
Feature: A client lives through the maintenance of the cache
  The service patches one node after the other, and tells of it on the channel AzureRedisEvents: "there is going be a failover that
  will disconnect existing connections … and operations might fail until these connections reconnect."

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:maintenance.survived @must @req:ENT-FAILOVER-1
  Scenario: The client is there again after all nodes were patched
    Given the key "greeting" holds "hello"
    And the client has opened a connection
    When the nodes of the cache are patched, announced 15 minutes ahead
    And within 60 minutes the patching is over
    Then every connection that was open has ended
    And within 10 minutes "GET greeting" succeeds
    And the command answers "hello"
    And no sign-in was refused

  @id:maintenance.announced @should @req:ENT-EVENTS-1 @needs:pubsub
  Scenario: The announcement reaches a subscriber as it was sent
    Given the client has subscribed to "AzureRedisEvents"
    When the nodes of the cache are patched, announced 15 minutes ahead
    Then the subscriber has received the announcement "NodeMaintenanceScheduled"
    And the subscriber has received the announcement "NodeMaintenanceStarting"
    And the subscriber has received the announcement "NodeMaintenanceStart"

  @id:maintenance.subscribes-again @must @req:ENT-RETRY-1 @needs:pubsub
  Scenario: A subscriber subscribes again after the maintenance
    Given the client has subscribed to "AzureRedisEvents"
    When the nodes of the cache are patched, announced 15 minutes ahead
    And within 60 minutes the patching is over
    Then within 10 minutes "back again" published on "AzureRedisEvents" reaches the subscriber
    And no sign-in was refused
