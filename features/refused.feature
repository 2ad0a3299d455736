@refused
Feature: The cache refuses an identity
  Whatever is wrong with the token, the cache answers one text, WRONGPASS. The application must be told, and soon; and the
  client must not answer a refusal with a storm.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And tokens that live for 60 minutes

  @id:refused.wrong-audience @must @req:ENT-REFUSE-1
  Scenario: A token made for another service
    Given a service principal with the access policy "Data Owner"
    And tokens made for another audience
    When the client tries to run "PING"
    Then the command fails
    And a sign-in was refused because of the audience

  @id:refused.foreign-tenant @must @req:ENT-REFUSE-1
  Scenario: A service principal of another tenant
    Given a service principal of another tenant with the access policy "Data Owner"
    When the client tries to run "PING"
    Then the command fails
    And a sign-in was refused because of the tenant

  @id:refused.unassigned @must @req:ENT-REFUSE-1
  Scenario: A service principal without an access policy
    Given a service principal without an access policy
    When the client tries to run "PING"
    Then the command fails
    And a sign-in was refused because no access policy is assigned

  @id:refused.expired-token @must @req:ENT-REFUSE-1
  Scenario: A token that has expired already
    Given a service principal with the access policy "Data Owner"
    And tokens that have expired already
    When the client tries to run "PING"
    Then the command fails
    And no sign-in succeeded

  @id:refused.client-id @must @req:ENT-USER-1 @needs:credential:username
  Scenario: The application configured the client ID as user name
    Given a service principal with the access policy "Data Owner"
    And the application configured the client ID as user name
    When the client tries to run "PING"
    Then the command fails
    And a sign-in was refused because the user name is not the object ID

  @id:refused.once-per-connection @should @req:ENT-LOAD-1
  Scenario: A refused token is not sent again on the same connection
    Given a service principal without an access policy
    When the client tries to run "PING"
    And 10 minutes have passed
    Then the command fails
    And no connection has sent AUTH more than once

  @id:refused.comes-in-later @must @req:ENT-RETRY-1
  Scenario: An application that was refused signs in once it is assigned
    Given a service principal without an access policy
    When the client tries to run "PING"
    Then the command fails
    When the service principal is assigned the access policy "Data Owner"
    Then within 10 minutes "PING" succeeds

  @id:refused.bounded-rate @should @req:ENT-LOAD-1
  Scenario: A client that is refused does not try again and again without a pause
    Given a service principal without an access policy
    When the client tries to run "PING"
    And 30 minutes have passed
    Then the command fails
    And the client has signed in no more than 20 times in any second
