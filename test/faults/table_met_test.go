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
| the address 0.0.0.0:PORT, and every other of IPv4 | a socket of IPv4 alone, in the library, ` + "`" + `handoff exec` + "`" + ` and ` + "`" + `run` + "`" + `, TCP and UDP | ` + "`" + `internal/spec/ipv4_test.go` + "`" + `, ` + "`" + `handoff/claim_test.go` + "`" + ` |
| 0.0.0.0:PORT and [::]:PORT in one ` + "`" + `handoff unit` + "`" + ` | refused, for systemd could open one alone | ` + "`" + `internal/unit/collide_test.go` + "`" + ` |
| a unix socket's address that is too long | its length and the limit are named, by the library, Options.Control and the commands | ` + "`" + `handoff/bindtext_test.go` + "`" + `, ` + "`" + `internal/unixpath/length_test.go` + "`" + ` |
| a stale socket at a path of 99 to 107 bytes | replaced, as at shorter ones | ` + "`" + `internal/unixpath/length_test.go` + "`" + ` |
| a low port without the right to it | the error says what gives the right | ` + "`" + `handoff/bindtext_test.go` + "`" + `, ` + "`" + `internal/lowport/lowport_linux_test.go` + "`" + ` |
| sixteen and more who follow the events | upgrades and checks go on as without them | ` + "`" + `internal/control/control_test.go` + "`" + ` |
| ExecStart= has changed, and the old path runs | ` + "`" + `handoff upgrade` + "`" + ` warns, ` + "`" + `handoff doctor` + "`" + ` finds it | ` + "`" + `internal/doctor/command_test.go` + "`" + `, ` + "`" + `cmd/handoff/upgrade_command_linux_test.go` + "`" + ` |
| STATUS under ` + "`" + `handoff run` + "`" + ` | the service's generation, and not the copy's own | ` + "`" + `internal/supervise/manager_linux_test.go` + "`" + ` |
| ` + "`" + `--stop-signal RTMIN+3` + "`" + ` | read as systemd spells it | ` + "`" + `cmd/handoff/signal_unix_test.go` + "`" + ` |
| the directory of a chroot, or of the start, can't be entered | the directory is named, and not the program's file | ` + "`" + `handoff/startfault_linux_test.go` + "`" + ` |
`
