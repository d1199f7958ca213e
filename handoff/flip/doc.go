// Package flip takes a service from github.com/cloudflare/tableflip to handoff, and
// back if need be, with no connection refused.
//
// A running tableflip server upgrades into a build that uses this package by its own
// usual signal: all that it passes arrives, and it is told by tableflip itself that the
// new process is ready. From then on upgrades are handoff's. When the file on disk is
// again a tableflip server, the next upgrade starts it as tableflip would.
//
// There are two ways to use it. [NewHandoff] takes the place of [handoff.New], and all
// the rest is as handoff documents it. Or the program stays as it is but for its import:
//
//	import tableflip "github.com/handoff-dev/handoff/handoff/flip"
//
// [New] then has tableflip's surface, with these differences:
//
//   - A listener on port 0 keeps its port over upgrades also when it is found by other
//     words: what was inherited is found by its address too, ":80" being "[::]:80".
//   - A listener or packet conn from Listen or ListenPacket that the program closes stops
//     listening and isn't passed on. (What was given to AddListener, AddConn, AddFile and so
//     on is passed on as a duplicate, as before.)
//   - Errors have sentinels: [handoff.ErrNotReady], [handoff.ErrUpgradeInProgress],
//     [handoff.ErrHandedOver], [handoff.ErrStopping], [ErrNotSupported], [ErrOnlyOne] and
//     [handoff.UpgradeError].
//   - A process that was started by an upgrade accepts nothing before Ready, and Upgrade
//     returns when it has lived for a second more (Options.Handoff.Probation); should it die
//     by then, the old one goes on to serve.
//   - Until then Upgrade is refused in the new one (ErrNotReady), whatever the PID file says.
//   - There may be another upgrade while older processes still let their connections
//     end; tableflip refuses that.
//   - A successor that can't be used is asked to end by SIGTERM, and killed after 5 seconds.
//   - If the old process dies before Ready, then Ready is no error: the new one goes on.
//   - What Listen returns is no *net.TCPListener, and accepts nothing more once the channel of
//     Exit is closed; its Accept returns when it is closed. Reading from a packet conn then
//     returns an error that is [net.ErrClosed], while writing goes on to work.
//   - Stop doesn't remove the path of a unix socket that was given to AddListener.
//   - A stale unix socket at the path is replaced, where tableflip fails with EADDRINUSE.
//   - New works everywhere. Where there are no upgrades, Upgrade says so.
//   - The PID file ends with a newline.
//   - Sockets that systemd has passed (LISTEN_FDS) are found by their address.
//   - Names are passed on in at most 255 characters: a longer one is [handoff.ErrBadName].
//
// A tableflip server that takes over is started with all that is passed on, under the
// words that this program has used and under the bound address: ask for the same
// there, as "tcp" and ":8080". If it doesn't ask for a unix socket, tableflip removes the
// socket's path, also if the upgrade then fails in its probation. Under systemd a
// tableflip server needs PIDFile= in the unit; with a PID file and no NOTIFY_SOCKET this
// package trusts that it is there.
package flip
