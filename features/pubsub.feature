@pubsub
Feature: A subscriber outlives its token
  "Client applications must periodically refresh the Microsoft Entra token before expiry. Then the apps must send an AUTH
  command to the Redis server to avoid disrupting connections." A RESP2 connection that has subscribed cannot send AUTH: the
  cache closes it when its token expires, and the client has to subscribe again. A RESP3 connection can.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  # Three tokens, because a client that sends AUTH while another thread reads survives one renewal now and then; a process of its
  # own, because such a client has been seen to take its process down.
  @id:pubsub.resp3-survives @must @req:ENT-EXPIRE-1 @needs:pubsub @needs:resp3 @process
  Scenario: A subscriber on RESP3 is renewed in place
    Given the client speaks RESP3
    And the client has subscribed to "news"
    When 150 minutes have passed
    And "still there?" is published on "news"
    Then the subscriber has received "still there?"
    And no connection was closed by the cache

  @id:pubsub.resp2-comes-back @must @req:ENT-RETRY-1 @needs:pubsub @needs:resp2 @nightly
  Scenario: A subscriber on RESP2 subscribes again with a fresh token
    Given the client speaks RESP2
    And the client has subscribed to "news"
    When 75 minutes have passed
    Then within 10 minutes "back again" published on "news" reaches the subscriber
    And no sign-in was refused

  @id:pubsub.delivers @must @req:ENT-ACL-1 @needs:pubsub
  Scenario: A message reaches the subscriber
    Given the client has subscribed to "news"
    When "hello" is published on "news"
    Then the subscriber has received "hello"

  @id:pubsub.two-subscribers @must @req:ENT-EXPIRE-1 @needs:pubsub @needs:resp3 @process
  Scenario: Two subscriptions of one client on RESP3 are both renewed
    Given the client speaks RESP3
    And the client has subscribed to "news"
    And the client has subscribed to "sport"
    When 150 minutes have passed
    And "still there?" is published on "news"
    And "here, too?" is published on "sport"
    Then the subscriber has received "still there?"
    And the subscriber has received "here, too?"
    And no connection was closed by the cache
