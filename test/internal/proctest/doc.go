// Package proctest is the ground under tests that run real processes: it builds
// programs once, starts and ends processes, waits with deadlines, and sees to it
// that nothing a test started outlives the test.
//
// A package of such tests begins with
//
//	func TestMain(m *testing.M) { proctest.Main(m) }
//
// The output of a process goes to a file, not through a pipe: a successor that
// inherits it can write on after its predecessor has ended, and nobody waits for
// an end of file that a draining process holds back. A test that fails prints it.
package proctest
