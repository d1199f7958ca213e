// Bench upgrades the same server again and again by handoff and by other means,
// counts what its clients lose, and measures what it costs. See docs/performance.md.
package main
