// Package releases holds the tests on what differs between the builds of one
// service: upgrades from one Go release to another and back, and from an earlier
// version of this repository to the present one and back, under counted load.
//
// The releases are those of test/go-releases.
package releases
