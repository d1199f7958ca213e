// Package watcher finds the process that watches this one by its process id and can't be
// told of another one: the init of a container, a supervisor.
package watcher
