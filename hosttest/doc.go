// Package hosttest runs the README's first command as somebody on another host
// would: in a root of a newer Debian, in one without apt, as linux/arm64. All of
// it is a test.
package hosttest
