@credentials
Feature: An application signs in with what it has
  "User = Object ID of your managed identity or service principal." A service principal has a client secret or a certificate, or is trusted
  for what another issuer says; a managed identity has nothing, and gets its tokens from the machine that the application runs on.

  Background:
    Given a cache that accepts Microsoft Entra tokens

  @id:credentials.certificate @must @req:ENT-USER-1 @needs:credential:certificate
  Scenario: With a certificate
    Given a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the application signs in with a certificate
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And every sign-in used the object ID as user name
    And no connection was closed by the cache
    And the client has signed in with at least 2 different tokens

  @id:credentials.workload-identity @must @req:ENT-USER-1 @needs:credential:workload-identity
  Scenario: With the token of another issuer
    Given a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the application signs in with the token of another issuer, which is in a file
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And every sign-in used the object ID as user name
    And no connection was closed by the cache
    And the client has signed in with at least 2 different tokens

  # The kubelet replaces the token when four fifths of its life are over. In the virtual lane, since Azure Identity looks at the file every
  # five minutes, and the issuer lets clocks differ by as much.
  @id:credentials.token-file-replaced @must @req:ENT-FILE-1 @needs:credential:workload-identity @lane:virtual
  Scenario: The token of another issuer is replaced in its file
    Given a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the application signs in with the token of another issuer, which is in a file and lives for 30 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 24 minutes
    And the file has got the next token of the other issuer
    And the client runs a command every 5 minutes for 24 minutes
    And the file has got the next token of the other issuer
    And the client runs a command every 5 minutes for 27 minutes
    Then every command succeeded
    And no connection was closed by the cache
    And the client has signed in with at least 2 different tokens

  @id:credentials.system-assigned @must @req:ENT-USER-1 @needs:credential:managed-identity @process
  Scenario: As the machine itself
    Given a machine whose own managed identity has the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And every sign-in used the object ID as user name
    And no connection was closed by the cache
    And the client has signed in with at least 2 different tokens

  @id:credentials.user-assigned @must @req:ENT-USER-1 @needs:credential:managed-identity @process
  Scenario: As a managed identity that is assigned to the machine
    Given a machine to which a managed identity with the access policy "Data Owner" is assigned
    And tokens that live for 60 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And every sign-in used the object ID as user name
    And no connection was closed by the cache
    And the client has signed in with at least 2 different tokens

  # A machine keeps a token for its managed identity. Until when is not documented; here it is as long as it can be of use.
  @id:credentials.same-token @should @req:ENT-LOAD-1 @needs:credential:managed-identity @process @lane:virtual
  Scenario: A machine that hands out the same token again is not asked without pause
    Given a machine that hands out the same token until 5 minutes before it expires
    And a machine whose own managed identity has the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And the client has signed in with at least 2 different tokens
    And the issuer was asked for a token at most 40 times
    And the client has sent AUTH at most 60 times

  @id:credentials.machine-<id> @should @req:ENT-MACHINE-1 @needs:credential:managed-identity @process
  Scenario Outline: The machine fails one token request (<id>), and the connection lives on
    Given a machine whose own managed identity has the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the client has opened a connection
    And the machine answers the next token request with HTTP status <status>
    When the client runs a command every 5 minutes for 75 minutes
    Then the machine has failed 1 token request
    And every command succeeded
    And no connection was closed by the cache

    Examples:
      | id        | status |
      | error     | 500    |
      | throttled | 429    |

  @id:credentials.machine-recovers @must @req:ENT-RETRY-1 @needs:credential:managed-identity @process
  Scenario: A machine that has failed for longer than the token lived is asked again
    Given a machine whose own managed identity has the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the client has opened a connection
    When 30 minutes have passed
    And the machine answers every token request with HTTP status 503
    And 75 minutes have passed
    And the machine answers as usual again
    Then within 60 minutes "PING" succeeds
    And the newest connection signed in with a token other than the first one
