// Package prove points handoff prove at a WebSocket server and at a gRPC server.
package prove
