//go:build linux

package faults

// tableTail is what follows the table: faults with tests of their own elsewhere.
const tableTail = `
# What users have met

Orders of events and ways to use the library that lost something, or misled, and what happens now. The tests are in
the packages named.

| fault | outcome | test |
|---|---|---|
| HTTP/1 and unencrypted HTTP/2 on one server: net/http reads again after a read that was given up | the connection has left, and can't be read here: no request lost, no answer mixed of two processes | test/upgrade, ` + "`" + `TestAServerWithHTTP1AndUnencryptedHTTP2LosesNoRequest` + "`" + ` |
| a connection that talks steadily and is never seen to be idle, also by requests with ` + "`" + `Upgrade` + "`" + ` | it is told by ` + "`" + `Connection: close` + "`" + ` before half of DrainTimeout is over | handoff, ` + "`" + `TestAConnectionThatCouldMoveAndDoesNotIsToldToGoInGoodTime` + "`" + `, ` + "`" + `TestAnAnswerThatChangesTheProtocolIsLeftAloneAndNoOther` + "`" + ` |
| another release of net/http does something else between two requests | connections stay and end politely | handoff, ` + "`" + `TestConnectionsOfANetHTTPThatDoesOtherwiseStayAndEndPolitely` + "`" + ` |
| a wrapped listener makes an error of its own of its end | no failure; one of another service in the same drain is | handoff, ` + "`" + `TestAnEndOfOurOwnCausingIsNoFailureWhateverAWrapperSays` + "`" + `, ` + "`" + `TestAFailureDuringADrainIsOneWhateverSocketsHaveEnded` + "`" + ` |
| slow or silent clients through many upgrades | the time limits of the server go on with the connection; one that comes back idle from a successor has the time of a new one | handoff, ` + "`" + `TestTimeLimitsOfAConnectionCountFromTheirBeginningInAnOlderGeneration` + "`" + ` |
| ` + "`" + `RegisterOnShutdown` + "`" + ` hooks of an ` + "`" + `*http.Server` + "`" + ` | run once, when the drain begins | handoff, ` + "`" + `TestOnShutdownHooksRunOnceWhenTheDrainBegins` + "`" + ` |
| ` + "`" + `ListenConfig.KeepAlive` + "`" + ` with an inherited listener | holds for what it accepts | handoff, ` + "`" + `TestKeepAliveHoldsForWhatAnInheritedListenerAccepts` + "`" + ` |
`
