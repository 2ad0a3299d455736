@endurance
Feature: A client lives for days
  "… proactively refreshing tokens before they expire to maintain persistent Redis connections over multiple days." In days the issuer
  is down for a while, nodes are rebooted, access keys change, and seventy tokens follow one another.

  # In the virtual lane's fastest time the three days take three minutes. They are played when they are asked for:
  # entracache verify --lane virtual --speed 1440 --scenario 'endurance.*'
  @id:endurance.three-days @should @req:ENT-REFRESH-3 @lane:virtual @long
  Scenario: Three days with outages, reboots and changes of access keys
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes
    And the client has opened a connection
    When the client runs a command every 20 minutes for 3 days of trouble, drawn from the seed 14
    Then the client was back within 30 minutes after each trouble, and no command failed beside it
    And the client has signed in with at least 60 different tokens
    And the issuer was asked for a token at most 600 times
