// Package onshutdown finds the functions that a program has registered by
// [http.Server.RegisterOnShutdown], for them to run without a Shutdown, which
// would close connections.
//
// net/http has no documented way to that. So they are read from the server itself, where
// it is tried out first that they are where they were up to Go 1.27. Where they are not,
// nothing is taken, and Shutdown runs them as ever.
package onshutdown
