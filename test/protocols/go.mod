// Tests with the clients and servers of other libraries, in a module of their own so
// that the go.mod of the library names nothing that the library does not use.
module github.com/handoff-dev/handoff/test/protocols

go 1.25.0

replace (
	github.com/handoff-dev/handoff => ../..
	github.com/handoff-dev/handoff/examples/grpc => ../../examples/grpc
)

require (
	github.com/coder/websocket v1.8.15
	github.com/handoff-dev/handoff v0.0.0-00010101000000-000000000000
	github.com/handoff-dev/handoff/examples/grpc v0.0.0-00010101000000-000000000000
	github.com/quic-go/quic-go v0.61.0
	go.etcd.io/bbolt v1.4.3
	golang.org/x/net v0.58.0
	google.golang.org/grpc v1.84.0
)

require (
	github.com/andybalholm/brotli v1.2.2 // indirect
	github.com/klauspost/compress v1.19.1 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
)

require (
	github.com/HdrHistogram/hdrhistogram-go v1.4.0 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	github.com/valyala/fasthttp v1.73.0
	golang.org/x/crypto v0.55.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.41.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
)
