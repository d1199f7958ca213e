// Package chat talks on examples/chat while it is upgraded.
package chat
