// Package handoff replaces a running server by its next version without losing a
// request.
//
// The invariant: from the first ready on, at every instant some living process
// has the listeners open and is accepting, or will be, with no action needed from
// outside.
//
// # A server that upgrades itself
//
//	up, err := handoff.New(handoff.Options{Logger: slog.Default()})
//	ln, err := up.Listen("http", "tcp", ":8080")   // inherited by name, else by address, else new
//	err = up.Run(ctx, handoff.Serve(srv, ln))      // until this generation has handed over or stopped
//
// On SIGHUP it starts its own file again, as it is on disk now, hands its sockets
// over, waits until the successor is ready and has lived through its probation,
// and lets its connections end. A successor that fails leaves it serving.
//
//	start ── inherit ── listen ── serve ── ready ── SIGHUP ─► upgrading ─► probation ─► commit ─► drain ─► exit 0
//	                                         ▲                    │            │
//	                                         └──── roll back ◄────┴────────────┘
//
// # Sockets by systemd's protocol
//
// Sockets come in by LISTEN_FDS (sd_listen_fds(3)) and go to the successor by
// LISTEN_FDS; readiness comes by sd_notify(3). So systemd can start the first
// generation, and any program that systemd can activate can be the next. The
// protocol can be used by itself: [Inherit] reads descriptors, [Export] starts a
// command with descriptors, [Notifier] tells a service manager.
//
// A unit that works:
//
//	[Service]
//	Type=notify
//	NotifyAccess=main
//	ExecStart=/usr/bin/app
//	ExecReload=/bin/kill -HUP $MAINPID
//	KillMode=control-group
//	Restart=on-failure
//	FileDescriptorStoreMax=16
//
// # Systems
//
// Upgrades work on Unix; they are tested on Linux. On Windows and other systems a
// program listens and serves as usual, and an upgrade is [ErrUnsupported].
package handoff
