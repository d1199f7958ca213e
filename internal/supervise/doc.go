// Package supervise holds sockets for a program, and swaps the program behind them.
//
// A [Holder] keeps its process id and its sockets for as long as it lives. It starts
// copies of the program, which get the sockets by LISTEN_FDS, and replaces one after
// the other when it is asked to: the old copy serves until the new one is ready and
// has lived through its probation. Whatever happens to the copies, clients find a
// socket that accepts them, or that lets them wait.
//
// One goroutine owns the state, starts all processes and waits for all of them, so
// that no process id is used after it may have passed on to another process.
package supervise
