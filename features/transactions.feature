@transactions
Feature: A transaction is not disturbed by a renewal
  "Then the apps must send an AUTH command to the Redis server to avoid disrupting connections." Between MULTI and EXEC every command
  is queued, and so is AUTH: its reply would be one more among those of the application. And what WATCH watches is lost with its
  connection: then the transaction must not run.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:transactions.first-of-all @must @req:ENT-PASS-1 @needs:transactions @needs:transactions:watch @process
  Scenario: The connection that a transaction opens is signed in
    Given the client has begun the transaction "INCR first; INCR second", watching "first"
    When the client ends the transaction
    Then the transaction answers "1, 1"
    And every sign-in used a token that the issuer gave to this application

  # A transaction is open for a moment only, since libraries bound how long a command may take. There is one after the other, until a
  # renewal falls into one.
  @id:transactions.renewed-meanwhile @must @req:ENT-EXPIRE-2 @needs:transactions
  Scenario: A new token comes while a transaction is open
    Given the client has opened a connection
    When the client begins and ends the transaction "SET stock 7; INCR stock" again and again, until a new token comes while one is open
    And the client ends the transaction
    Then the transaction answers "OK, 8"
    And within 10 minutes "GET stock" succeeds
    And the command answers "8"

  @id:transactions.still-watched @must @req:ENT-EXPIRE-2 @needs:transactions @needs:transactions:watch @process
  Scenario: A watched key is watched still when a new token has come
    Given the client has opened a connection
    When the client begins and ends the transaction "SET stock 7; INCR stock", watching "stock", again and again, until a new token comes while one is open
    And somebody else sets "stock" to "0"
    And the client ends the transaction
    Then the transaction was not run
    And the cache holds "0" under "stock"

  @id:transactions.watch-lost @must @req:ENT-RETRY-1 @needs:transactions @needs:transactions:watch @process
  Scenario: What was watched on a connection that is gone is not taken for unchanged
    Given the key "stock" holds "7"
    And the client has opened a connection
    And the client has begun the transaction "DECR stock; INCR sold", watching "stock"
    When 2 minutes have passed
    And the cache reboots
    And 10 minutes have passed
    And somebody else sets "stock" to "0"
    And the client ends the transaction
    Then the transaction was not run
    And the cache holds "0" under "stock"
    And the cache holds nothing under "sold"

  @id:transactions.watch-lost-while-away @must @req:ENT-RETRY-1 @needs:transactions @needs:transactions:watch @process
  Scenario: What was watched is not taken for unchanged by a client that waits for the nodes
    Given the key "stock" holds "7"
    And the client has opened a connection
    And the client has begun the transaction "DECR stock; INCR sold", watching "stock"
    When 2 minutes have passed
    And the cache reboots and is away for 10 minutes
    And 2 minutes have passed
    And somebody else sets "stock" to "0"
    And the client ends the transaction
    And 10 minutes have passed
    Then the transaction was not run
    And the cache holds "0" under "stock"
    And the cache holds nothing under "sold"

  @id:transactions.cut @must @req:ENT-RETRY-1 @needs:transactions
  Scenario: The connection ends in the middle of a transaction
    Given the client has opened a connection
    And the connection ends when the 2nd "INCR" comes
    When the client tries to run the transaction "INCR first; INCR second"
    And 2 minutes have passed
    Then the transaction ran as a whole and once, or not at all, and the client says nothing else
    And within 10 minutes "PING" succeeds

  @id:transactions.exec-unanswered @should @req:ENT-RETRY-2 @needs:transactions
  Scenario: The connection ends after the transaction ran, and before the client has its answer
    Given the client has opened a connection
    And the connection ends before the next "EXEC" is answered
    When the client tries to run the transaction "INCR first; INCR second"
    Then an "EXEC" was left without an answer by the way
    And the transaction ran as a whole and once, or not at all, and the client says nothing else
