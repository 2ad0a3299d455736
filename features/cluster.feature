@cluster
Feature: A client signs in at every node of a clustered cache
  "The Redis clustering protocol requires each client to connect to each shard directly in clustering mode, and also defines new
  error responses such as 'MOVED'." Each of these connections has to be signed in and renewed, that to a node that came yesterday too.

  Background:
    Given a clustered cache of 3 shards that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:cluster.every-node @must @req:ENT-CLUSTER-1 @needs:cluster
  Scenario: The client signs in at the node of every shard
    Given the client has written 32 keys, some of them in every shard
    Then the client has signed in at the primary of every shard
    And no sign-in was refused
    And every sign-in used the object ID as user name

  @id:cluster.renewed @must @req:ENT-REFRESH-1 @needs:cluster @nightly
  Scenario: The connections to all nodes are renewed
    Given the client has written 32 keys, some of them in every shard
    When 75 minutes have passed
    Then no connection was closed because its token expired
    And within 10 minutes all these keys can be read
    And the client has signed in at the primary of every shard with at least 2 different tokens

  @id:cluster.moved @must @req:ENT-CLUSTER-1 @needs:cluster
  Scenario: A slot that has moved is followed
    Given the key "greeting" holds "hello"
    And the client has written 32 keys, some of them in every shard
    When the slot of "greeting" moves to another shard
    And the client runs "GET greeting"
    Then the command answers "hello"

  @id:cluster.ask @must @req:ENT-CLUSTER-1 @needs:cluster
  Scenario: A key that has moved ahead of its slot is found
    Given the key "greeting" holds "hello"
    And the client has written 32 keys, some of them in every shard
    When the slot of "greeting" is being moved to another shard, and the key is there already
    And the client runs "GET greeting"
    Then the command answers "hello"

  @id:cluster.failover @must @req:ENT-FAILOVER-1 @needs:cluster
  Scenario: The primary of a shard fails
    Given the client has written 32 keys, some of them in every shard
    When the primary of a shard fails, and a replica takes over after 12 seconds
    Then within 10 minutes all these keys can be read
    And the client has signed in at the primary of every shard
    And no sign-in was refused

  @id:cluster.node-gone @must @req:ENT-FAILOVER-1 @needs:cluster
  Scenario: A node is away for long, and the client finds the one that has taken its place
    Given the client has written 32 keys, some of them in every shard
    When the primary of a shard reboots and is away for 720 minutes
    Then within 10 minutes all these keys can be read
    And the client has signed in at the primary of every shard
    And no sign-in was refused

  @id:cluster.scaled @must @req:ENT-CLUSTER-1 @needs:cluster
  Scenario: A shard is added
    Given the client has written 32 keys, some of them in every shard
    When the cache is scaled to 4 shards
    Then within 10 minutes all these keys can be read
    And the client has signed in at the primary of every shard
    And no sign-in was refused

  @id:cluster.fresh-token @must @req:ENT-PASS-2 @needs:cluster
  Scenario: A node that is added later sees a fresh token
    Given the client has written 32 keys, some of them in every shard
    And 75 minutes have passed
    When the cache is scaled to 4 shards
    Then within 10 minutes all these keys can be read
    And the client has signed in at the primary of every shard
    And no sign-in was refused
    And the newest connection signed in with a token other than the first one

  @id:cluster.host-certificate @should @req:ENT-CLUSTER-2 @needs:cluster
  Scenario: The nodes are named by IP address, and the certificate has the host name only
    Given the certificate of the cache names its host, and no IP address
    And the client has written 32 keys, some of them in every shard
    Then the client has signed in at the primary of every shard

  @id:cluster.three-tokens @must @req:ENT-EXPIRE-1 @needs:cluster
  Scenario: The connections to all nodes live through three tokens
    Given the client has written 32 keys, some of them in every shard
    When the client reads all these keys every 10 minutes for 150 minutes
    Then every command succeeded
    And the client has signed in at the primary of every shard with at least 3 different tokens
    And no connection was closed because its token expired

  @id:cluster.renewed-while-migrating @must @req:ENT-REFRESH-1 @needs:cluster
  Scenario: A new token comes while a slot is being moved
    Given the key "greeting" holds "hello"
    And the client has written 32 keys, some of them in every shard
    When the slot of "greeting" is being moved to another shard, and the key is there already
    And the client reads all these keys every 10 minutes for 75 minutes
    Then every command succeeded
    When the client runs "GET greeting"
    Then the command answers "hello"
    And no sign-in was refused

  @id:cluster.subscriber @must @req:ENT-FAILOVER-1 @needs:cluster @needs:pubsub @process
  Scenario: A subscriber in a clustered cache hears again after a failover, with a token that was renewed
    Given the client has subscribed to "news"
    When 75 minutes have passed
    Then within 10 minutes "still there?" published on "news" reaches the subscriber
    When the cache fails over as planned
    Then within 10 minutes "back again" published on "news" reaches the subscriber
    And no sign-in was refused
