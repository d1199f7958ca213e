// Package faults holds the tests that break an upgrade at each of its steps, under
// counted load, and assert what is left: who serves, what was lost, what the log
// says, whether the next upgrade works, and that nothing stays behind.
//
// A short form runs always. All cases run with HANDOFF_TEST_LONG=1; with
// HANDOFF_FAULTS_UPDATE=1 as well that run writes their table, docs/faults.md.
package faults
