// Package notify is the receiving end of sd_notify(3): a generation hears its
// successor by it, and a supervisor its service.
package notify
