package handoff

import "golang.org/x/sys/unix"

// secureMode tells whether this program has rights that its caller lacks, file
// capabilities most often (AT_SECURE, getauxval(3)). Such a program can upgrade
// itself, and so has to believe a predecessor; but anybody who may start it can
// pretend to be one, and is not to choose files for it to remove.
func secureMode() bool {
	const atSecure = 23
	entries, err := unix.Auxv()
	for _, e := range entries {
		if e[0] == atSecure {
			return e[1] != 0
		}
	}
	return err != nil
}
