@blocking
Feature: A command that waits outlives the token
  "Client applications must periodically refresh the Microsoft Entra token before expiry. Then the apps must send an AUTH command to the
  Redis server to avoid disrupting connections." While BLPOP waits, the cache reads nothing else from its connection: AUTH has to come
  before the command or after it. A worker that waits a little at a time gives the client the chance; one that waits as long as it takes
  is cut off when the token expires, and has to be told, or to wait on by another connection.

  Background:
    Given a cache that accepts Microsoft Entra tokens
    And a service principal with the access policy "Data Owner"
    And tokens that live for 60 minutes

  @id:blocking.worker @must @req:ENT-EXPIRE-1 @needs:blocking
  Scenario: A worker that waits a little at a time is not disturbed
    Given a worker of the client takes jobs from "jobs", waiting a little at a time
    When 150 minutes have passed
    And 3 jobs are put into "jobs"
    Then within 15 minutes the worker has every job, and each once
    And no command of the worker failed
    And no connection was closed because its token expired

  @id:blocking.as-long-as-it-takes @must @req:ENT-RETRY-1 @needs:blocking
  Scenario: A worker that waits for longer than a token lives takes the next job
    Given a worker of the client takes jobs from "jobs", waiting as long as it takes
    When 75 minutes have passed
    And 3 jobs are put into "jobs"
    Then within 15 minutes the worker has every job, and each once
    And no sign-in was refused
