// Package prove points handoff prove at servers that are known to lose requests
// and at servers that are known not to, and wants its reports to tell which are
// which.
package prove
