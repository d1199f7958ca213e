//go:build peers

package migrating

// What the programs of docs/migrating.md import, for go mod tidy.
import (
	_ "github.com/cloudflare/tableflip"
	_ "github.com/coreos/go-systemd/v22/activation"
	_ "github.com/facebookgo/grace/gracehttp"
	_ "github.com/fvbock/endless"
	_ "github.com/handoff-dev/handoff/handoff"
	_ "github.com/handoff-dev/handoff/handoff/flip"
	_ "github.com/jpillora/overseer"
	_ "github.com/jpillora/overseer/fetcher"
)
