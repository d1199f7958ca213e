// Package httpclient calls the reference server with net/http's own client while it
// is upgraded.
package httpclient
