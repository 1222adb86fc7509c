package ssecast

import "syscall"

const (
	spreads             = true
	ipBindAddressNoPort = 24
)

// bindWithoutPort lets connect() choose the port, which it may share with other destinations; bind() alone would reserve it.
func bindWithoutPort(_, _ string, socket syscall.RawConn) error {
	var wrong error
	err := socket.Control(func(fd uintptr) {
		wrong = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
	if err != nil {
		return err
	}
	return wrong
}
