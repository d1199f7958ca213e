// Package grpc calls examples/grpc with grpc-go's own client while it is upgraded.
package grpc
