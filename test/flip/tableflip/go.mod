module github.com/handoff-dev/handoff/test/flip/tableflip

go 1.25.0

require github.com/cloudflare/tableflip v1.2.3
