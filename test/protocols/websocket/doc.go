// Package websocket talks to a WebSocket server while it is upgraded. Both ends use
// github.com/coder/websocket.
package websocket
