// Package prove proves, or refutes, that a running service loses no request
// while it is upgraded: any service, whatever does the upgrade.
//
// It puts counted load on the service by package load, whose clients never send
// a request twice, runs the upgrade's command again and again, and reports each
// lost request with the time since the upgrade had begun and with what that
// kind of loss means.
package prove
