@signin
Feature: A client signs in with a Microsoft Entra token
  "Update your Redis connection logic to use the following User and Password: User = Object ID of your managed identity or
  service principal, Password = Microsoft Entra token that you acquired by using MSAL."

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:signin.object-id @must @req:ENT-USER-1 @nightly
  Scenario: The user name is the object ID
    When the client runs "PING"
    Then the command succeeds
    And every sign-in used the object ID as user name

  @id:signin.token-is-the-password @must @req:ENT-PASS-1
  Scenario: The password is a token that the issuer gave to this application
    When the client runs "PING"
    Then the command succeeds
    And every sign-in used a token that the issuer gave to this application

  @id:signin.scope @must @req:ENT-SCOPE-1
  Scenario: The token is asked for with the scope of the Redis resource
    When the client runs "PING"
    Then the command succeeds
    And every token was asked for with the scope "https://redis.azure.com/.default" or "acca5fbb-b7e4-4009-81f1-37e38fd66d78/.default"

  @id:signin.tls @must @req:ENT-TLS-1
  Scenario: Every connection uses TLS 1.2 or higher
    When the client runs "PING"
    Then the command succeeds
    And every connection used TLS 1.2 or higher

  @id:signin.verifies-certificate @must @req:ENT-TLS-2
  Scenario: No token is sent to a server whose certificate cannot be verified
    Given the certificate of the cache comes from a certificate authority that the client does not trust
    When the client tries to run "PING"
    Then the command fails
    And the client sent no token

  # It comes from the certificate authority that the client trusts, for somebody else: whoever has such a certificate could answer.
  @id:signin.verifies-host @must @req:ENT-TLS-2
  Scenario: No token is sent to a server whose certificate is for another host
    Given the certificate of the cache is for another host than the client connects to
    When the client tries to run "PING"
    Then the command fails
    And the client sent no token

  @id:signin.resp3 @must @req:ENT-USER-1 @needs:resp3
  Scenario: Sign-in works on RESP3
    Given the client speaks RESP3
    When the client runs "SET greeting hello"
    And the client runs "GET greeting"
    Then the command answers "hello"
    And every sign-in used the object ID as user name
    And every connection spoke RESP3

  @id:signin.resp2 @must @req:ENT-USER-1 @needs:resp2
  Scenario: Sign-in works on RESP2
    Given the client speaks RESP2
    When the client runs "SET greeting hello"
    And the client runs "GET greeting"
    Then the command answers "hello"
    And every sign-in used the object ID as user name
    And every connection spoke RESP2
