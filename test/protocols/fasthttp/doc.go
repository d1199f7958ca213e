// Package fasthttp upgrades a github.com/valyala/fasthttp server under load. server has
// the adapter by which its connections move to the next generation, for other programs
// to copy.
package fasthttp
