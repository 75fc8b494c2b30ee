// Package releasetest makes guests of Debian's releases from the archive,
// whatever the host is, and runs scenarios on them. All of it is a test.
package releasetest
