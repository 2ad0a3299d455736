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
