@issuer
Feature: A client bears with its issuer
  "… including proactively refreshing tokens before they expire to maintain persistent Redis connections over multiple days." In days an
  issuer answers late, or with an error, or not at all. What it does then is the application's trouble only if it lasts longer than the
  token that the client has.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  # A token is renewed well before it expires so that there is time for another try. One with status 503 is outage.one-error.
  @id:issuer.<id> @should @req:ENT-REFRESH-3
  Scenario Outline: One failed token request does not cost the connection: the issuer <failure>
    Given the client has opened a connection
    And the issuer <failure>
    When the client runs a command every 5 minutes for 75 minutes
    Then the issuer has failed 1 token request
    And every command succeeded
    And no connection was closed by the cache

    Examples:
      | id          | failure                                                                           |
      | error       | answers the next token request with HTTP status 500                               |
      | unavailable | answers the next token request with HTTP status 503, asking for 1 minute's pause  |
      | throttled   | answers the next token request with HTTP status 429, asking for 1 minute's pause  |
      | reset       | resets the connection of the next token request                                   |

  @id:issuer.short-outage @should @req:ENT-REFRESH-3 @process
  Scenario: An outage that ends before the token does costs no connection
    Given the client has opened a connection
    When the client runs a command every 5 minutes for 30 minutes
    And the issuer goes down
    And the client runs a command every 5 minutes for 20 minutes
    And the issuer is back
    And the client runs a command every 5 minutes for 35 minutes
    Then every command succeeded
    And no connection was closed by the cache

  # Tokens of 15 minutes, so that six of them pass in a while: each renewal meets one failure, and succeeds with the next try.
  @id:issuer.now-and-then @should @req:ENT-REFRESH-3 @lane:virtual
  Scenario: After five failures, each long forgotten, the client goes on to renew
    Given tokens that live for 15 minutes
    And the client has opened a connection
    And the issuer fails every other token request with HTTP status 503, 5 times
    When the client runs a command every 5 minutes for 120 minutes
    Then the issuer has failed 5 token requests
    And every command succeeded
    And no connection was closed by the cache
    And the client has signed in with at least 7 different tokens

  # Entra takes longer than a second now and then. The seconds are those of a clock on the wall: the network is real.
  @id:issuer.slow @must @req:ENT-PASS-1
  Scenario: A token that comes late is waited for
    Given the issuer takes 1200 ms to answer
    When the client runs "PING"
    Then the command succeeds
    And every sign-in used a token that the issuer gave to this application

  @id:issuer.slow-renewal @should @req:ENT-REFRESH-3 @lane:virtual
  Scenario: A renewed token that comes late is waited for
    Given the client has opened a connection
    And the issuer takes 1200 ms to answer
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And no connection was closed by the cache

  @id:issuer.hangs @must @req:ENT-RETRY-1 @process
  Scenario: An issuer that has not answered for longer than the token lived is asked again
    Given the client has opened a connection
    When 30 minutes have passed
    And the issuer takes requests, and answers none
    And 75 minutes have passed
    And the issuer answers as usual again
    Then within 60 minutes "PING" succeeds
    And the newest connection signed in with a token other than the first one

  @id:issuer.secret-expired @must @req:ENT-RETRY-1 @process
  Scenario: A client secret that was refused and is accepted again
    Given the client has opened a connection
    When 30 minutes have passed
    And the issuer refuses the client secret as expired
    And 75 minutes have passed
    And the client tries to run "PING"
    Then the command fails
    When the issuer answers as usual again
    Then within 60 minutes "PING" succeeds
    And the newest connection signed in with a token other than the first one

  # Twenty requests a minute are many, but no storm: without any pause it would be a thousand.
  @id:issuer.asked-quietly @should @req:ENT-LOAD-1 @process
  Scenario: While the issuer fails it is asked again at a quiet pace
    Given the client has opened a connection
    When 30 minutes have passed
    And the issuer answers every token request with HTTP status 503
    And the client tries to run a command every 5 minutes for 90 minutes
    Then the issuer was asked for a token at most 1800 times

  @id:issuer.down-at-start @must @req:ENT-RETRY-1
  Scenario: An application that starts while the issuer is down comes in later
    Given the issuer goes down
    When the client tries to run "PING"
    Then the command fails
    When the issuer is back
    Then within 10 minutes "PING" succeeds

  @id:issuer.refuses-two @must @req:ENT-REFUSE-1
  Scenario: Two clients that connect at once are both told that there is no token
    Given the issuer refuses the client secret as expired
    When two clients at once try to run "PING"
    Then both commands fail
