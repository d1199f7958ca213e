package activate

// Program is what is started.
type Program struct {
	Path string   // of the file
	Args []string // with the name that it is called by first
}

// Place is where a program finds its sockets.
type Place struct {
	First int  // the descriptor of the first socket, 3 or more
	Inetd bool // no such: the one socket is standard input and output
}

// Become makes this process the program: execve(2), so with the same pid. It has the
// descriptors 0 to 2 and duplicates of fds, and no other. It returns only if that
// fails, with an *fs.PathError of the program if it was the program's fault; then this
// process is good for a message and its end alone.
//
// Where there is no execve(2) the error wraps [ErrUnsupported].
func Become(p Program, env []string, fds []int, place Place) error {
	return become(p, env, fds, place)
}
