// Package sdbox runs a real systemd as PID 1 in namespaces of its own, as the service
// manager of one test. It needs Linux, root, systemd and nsenter (util-linux), and
// neither a virtual machine nor a container runtime.
//
// The box's root is an overlay whose upper side is in memory: it sees the machine's
// programs, and nothing that it writes reaches the machine. It has its own /run, /tmp,
// process numbers and network, so boxes and tests do not get in each other's way, and
// ports can be what they are in the unit files. Of units it knows those of the test and
// a handful for the boot, and none of the machine's.
//
// Importing the package gives the test binary a second role: started by Start it
// builds the box's root and becomes systemd, before main.
package sdbox
