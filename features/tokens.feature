@tokens
Feature: Tokens come in many shapes
  "Password = Microsoft Entra token that you acquired by using MSAL." What is in a token is between the issuer and the cache. A client needs
  two things of it at most: the object ID, and when it expires.

  Background:
    Given a cache that accepts Microsoft Entra tokens

  # Some clients go by the answer's expires_in, others by the token's exp. The cache knows only the token.
  @id:tokens.expire-earlier @should @req:ENT-REFRESH-1
  Scenario: A token that expires before the answer says is renewed before it expires
    Given a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And an answer that says of a token that it lives for 120 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every connection that the client kept has sent AUTH with a newer token before the old one expired
    And no connection was closed by the cache

  @id:tokens.expire-later @should @req:ENT-REFRESH-1
  Scenario: A token that expires after the answer says is renewed in time, and not without pause
    Given a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And an answer that says of a token that it lives for 30 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And no connection was closed by the cache
    And the issuer was asked for a token at most 12 times

  # The answer's refresh_in: from then on a new token should be had, although the old one is good.
  @id:tokens.refresh-in @should @req:ENT-LOAD-1
  Scenario: A token that should be renewed early is renewed, and not without pause
    Given a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And an answer that says of a token that it should be renewed after 20 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And no connection was closed by the cache
    And the issuer was asked for a token at most 12 times

  # Entra's own tokens live for an hour. One from a cache in between may have this much left.
  @id:tokens.short-lived @should @req:ENT-LOAD-1 @process
  Scenario: A token that lives shorter than the client's margin is not renewed without pause
    Given a service principal with the access policy "Data Owner"
    And tokens that live for 2 minutes
    When the client runs "PING"
    And the client is left idle for 20 minutes
    Then the issuer was asked for a token at most 40 times

  # The start of a token's life, iat and nbf, lies five minutes before it is issued.
  @id:tokens.backdated @must @req:ENT-REFRESH-1
  Scenario: A token that is dated back is renewed before it expires
    Given tokens that are dated back by 5 minutes
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the client has opened a connection
    When the client runs a command every 5 minutes for 75 minutes
    Then every command succeeded
    And every connection that the client kept has sent AUTH with a newer token before the old one expired
    And no connection was closed by the cache

  # Two hundred groups are as many as Entra puts into a token.
  @id:tokens.large @must @req:ENT-PASS-1
  Scenario: A token with the IDs of 150 groups, eight kilobytes long
    Given a service principal with the access policy "Data Owner"
    And tokens with the IDs of 150 groups
    When the client runs "PING"
    Then the command succeeds
    And every sign-in used a token that the issuer gave to this application

  @id:tokens.nested-object-id @must @req:ENT-USER-1
  Scenario: A token with somebody else's object ID inside another claim
    Given a service principal with the access policy "Data Owner"
    And tokens with a claim "act" that holds the object ID of another
    When the client runs "PING"
    Then the command succeeds
    And every sign-in used the object ID as user name

  # Letters beyond ASCII make - and _ of base64url appear, which base64 does not have.
  @id:tokens.beyond-ascii @must @req:ENT-USER-1
  Scenario: A token with a name beyond ASCII
    Given a service principal with the access policy "Data Owner"
    And tokens with a claim "upn" that holds "Zoë.Müller~ÿÿÿ?¿¿¿@例え.example"
    When the client runs "PING"
    Then the command succeeds
    And every sign-in used the object ID as user name

  # Which version a resource gets is its own choice; that the cache would ever choose the other one is not documented.
  @id:tokens.version-2 @should @req:ENT-PASS-1
  Scenario: A token of version 2.0
    Given tokens of version 2.0
    And a service principal with the access policy "Data Owner"
    When the client runs "PING"
    Then the command succeeds
    And every sign-in used the object ID as user name

  # One thing is wrong in each, and all else is right. The audience and the expiry are in refused.feature. Most of it only the cache can
  # see; where the client sees it, too, it is free not to send the token at all.
  @id:tokens.refused-<defect> @must @req:ENT-REFUSE-1
  Scenario Outline: A token that the cache refuses: <what is wrong>
    Given a service principal with the access policy "Data Owner"
    And tokens with the defect "<defect>"
    When the client tries to run "PING"
    Then the command fails
    When the client is left idle for 10 minutes
    Then no sign-in succeeded
    And the client has sent AUTH at most 300 times

    Examples:
      | defect          | what is wrong                                                        |
      | not-yet-valid   | its time has not come (nbf)                                          |
      | wrong-issuer    | it comes from another issuer (iss)                                   |
      | wrong-tenant    | it names another tenant (tid)                                        |
      | no-tenant       | it names no tenant (no tid)                                          |
      | wrong-object-id | it is somebody else's (oid)                                          |
      | no-object-id    | it is nobody's (no oid)                                              |
      | no-expiry       | it never expires (no exp)                                            |
      | alg-none        | it is not signed (alg none)                                          |
      | alg-hmac        | the published key is used as a shared secret (alg HS256)             |
      | wrong-key       | it is signed with another key than it says                           |
      | unknown-key     | it is signed with a key that the issuer has not published (kid)      |
      | no-key-id       | it does not say which key it is signed with (no kid)                 |
      | embedded-key    | it brings its own key (jwk)                                          |
      | tampered        | a claim was changed after it had been signed                         |
      | malformed       | it has two parts, where there should be three                        |
      | padded          | its parts are padded, as a JWT's never are                           |
      | too-large       | it is longer than what the cache reads before a sign-in              |
