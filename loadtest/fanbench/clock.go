package main

import (
	"syscall"
	"time"
	"unsafe"
)

const clockMonotonic = 1

// clockBase is CLOCK_MONOTONIC at clockStart: every process of the benchmark reads the same clock, and a reading
// after the first is no system call.
var (
	clockStart = time.Now()
	clockBase  = readMonotonic()
)

func readMonotonic() int64 {
	var at syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&at)), 0)
	return at.Nano()
}

// now is CLOCK_MONOTONIC in nanoseconds.
func now() int64 {
	return clockBase + int64(time.Since(clockStart))
}
