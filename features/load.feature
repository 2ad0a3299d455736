@load
Feature: A client is no burden to the cache
  "When you call the Redis server AUTH command periodically, consider adding a random delay so that the AUTH commands are staggered. In
  this way, your Redis server doesn't receive too many AUTH commands at the same time." A token is sent once on each connection; neither
  connections nor sign-ins grow with the number of renewals and reconnects.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:load.once-per-token @should @req:ENT-LOAD-1
  Scenario: After some reconnects each connection still sends each token once
    Given the client has opened a connection
    When the cache reboots 4 times, and the client comes back each time
    And the client runs a command every 10 minutes for 105 minutes
    Then no connection has sent the same token twice
    And the client has signed in with at least 2 different tokens

  @id:load.no-leak @must @req:ENT-RETRY-1
  Scenario: Reconnects leave no connections behind
    Given the client has opened a connection
    When 8 times a connection ends when a PING comes, and the client comes back each time
    And 10 minutes have passed
    Then within 10 minutes the client has left no connection behind

  @id:load.all-kinds @must @req:ENT-EXPIRE-1 @needs:pool @needs:blocking @needs:pubsub @needs:resp3 @process
  Scenario: A pool, a command that waits and a subscriber live through three renewals
    Given the client speaks RESP3
    And the client has subscribed to "news"
    And the client has opened 2 connections
    And a worker of the client takes jobs from "jobs", waiting a little at a time
    When the client runs a command every 10 minutes for 190 minutes
    Then every command succeeded
    And no command of the worker failed
    And no connection was closed because its token expired

  # In the virtual lane only: there a minute is a minute, and not the time that a machine takes to send four commands.
  @id:load.staggered @info @req:ENT-STAGGER-1 @needs:pool @lane:virtual
  Scenario: The connections of a pool are not renewed all at once
    Given the client has opened 4 connections
    When the client is left idle for 58 minutes
    Then the renewals of these connections are spread over at least 60 seconds

  # Two days of tokens. In the virtual lane's fastest time they take two minutes. They are played when they are asked for:
  # entracache verify --lane virtual --speed 1440 --scenario load.fifty-renewals
  @id:load.fifty-renewals @must @req:ENT-EXPIRE-1 @lane:virtual @long @process
  Scenario: After fifty renewals nothing has grown
    Given the client has opened a connection
    When the client runs a command every 20 minutes for 3000 minutes
    Then every command succeeded
    And the client has signed in with at least 50 different tokens
    And the issuer was asked for a token at most 80 times
    And within 10 minutes the client has left no connection behind
