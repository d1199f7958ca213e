// Package stage runs in a child between fork and exec: in that instant the
// child knows its own pid, which its environment has to name, and its parent
// can't know it yet.
//
// A parent starts its own executable with [Variable] set; this package's init
// sees that, before the program's main, writes the pid variables, closes what
// isn't meant for the target, and becomes the target by execve(2), keeping the
// pid. Other packages' init functions may run before it: it imports little, so
// that few do.
//
// A target that has this package itself may be started directly, with
// Order.InPlace: then it does all that in its own init, without the execve.
package stage

// Variable tells a process that it is a stage, and which file it is to become.
// It never reaches the target.
const Variable = "HANDOFF_STAGE"

// LinkVariable names the descriptor of the link to the predecessor. The parent
// sets it to the number, the stage appends its pid, so that a grandchild that
// inherits the variable by accident doesn't believe in it.
const LinkVariable = "HANDOFF_LINK"
