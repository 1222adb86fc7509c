package main

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"unsafe"
)

const (
	backlog    = 4096
	batch      = 512 // epoll events taken at a time
	listenerID = -1
)

const floorHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n:\n\n\r\n"

// floor sends the same bytes to every socket and does nothing else: no request is parsed, nobody who is slow is waited
// for. What it takes is what the kernel takes for one
// send() after the other; whoever hands it many at once, or joins events into one write, can take less.
type floor struct {
	lock   sync.Mutex // a broadcast holds it: no descriptor is closed, and used again, meanwhile
	fds    []int32
	place  map[int32]int
	jobs   []chan broadcast
	done   sync.WaitGroup
	number int64
}

type broadcast struct {
	fds  []int32
	wire []byte
}

func runFloor(args []string) error {
	flags := flag.NewFlagSet("floor", flag.ContinueOnError)
	threads := flags.Int("threads", 1, "threads that send")
	if err := flags.Parse(args); err != nil {
		return err
	}
	port, err := portOf(flags.Args())
	if err != nil {
		return err
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(256 << 20)
	runtime.GOMAXPROCS(*threads + 2) // the senders, the loop, the NATS reader
	conn, err := dialNATS()
	if err != nil {
		return err
	}
	if err := conn.subscribe(benchSubjects); err != nil {
		return err
	}
	fan := &floor{place: map[int32]int{}}
	for range *threads - 1 {
		jobs := make(chan broadcast)
		fan.jobs = append(fan.jobs, jobs)
		go fan.help(jobs)
	}
	listener, err := listen(port)
	if err != nil {
		return err
	}
	endWithStdin()
	go func() { fail(fan.loop(listener)) }()
	runtime.LockOSThread()
	return conn.each(fan.publish)
}

func (f *floor) publish(payload []byte) {
	f.number++
	frame := fmt.Sprintf("id: %d\ndata: %s\n\n", f.number, payload)
	wire := fmt.Appendf(nil, "%x\r\n%s\r\n", len(frame), frame)
	f.lock.Lock()
	defer f.lock.Unlock()
	share := (len(f.fds) + len(f.jobs)) / (len(f.jobs) + 1)
	rest := f.fds
	for _, jobs := range f.jobs {
		part := min(share, len(rest))
		f.done.Add(1)
		jobs <- broadcast{rest[:part], wire}
		rest = rest[part:]
	}
	sendAll(rest, wire)
	f.done.Wait()
}

func (f *floor) help(jobs chan broadcast) {
	runtime.LockOSThread()
	for job := range jobs {
		sendAll(job.fds, job.wire)
		f.done.Done()
	}
}

// sendAll does not tell Go's scheduler about its calls: none of them blocks.
func sendAll(fds []int32, wire []byte) {
	at, size := uintptr(unsafe.Pointer(&wire[0])), uintptr(len(wire))
	const flags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL
	for _, fd := range fds {
		syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), at, size, flags, 0, 0)
	}
	runtime.KeepAlive(wire)
}

// loop accepts, answers the head to whatever is asked, and notices who is gone.
func (f *floor) loop(listener int) error {
	runtime.LockOSThread()
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	if err := watch(poll, syscall.EPOLL_CTL_ADD, listener, listenerID, syscall.EPOLLIN); err != nil {
		return err
	}
	events := make([]syscall.EpollEvent, batch)
	buffer := make([]byte, 4096)
	for {
		count, err := syscall.EpollWait(poll, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for i := range max(count, 0) {
			if events[i].Fd == listenerID {
				f.accept(poll, listener)
			} else {
				f.read(int(events[i].Fd), buffer)
			}
		}
	}
}

func (f *floor) accept(poll, listener int) {
	for {
		fd, _, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		if watch(poll, syscall.EPOLL_CTL_ADD, fd, int32(fd), syscall.EPOLLIN) != nil {
			syscall.Close(fd)
		}
	}
}

func (f *floor) read(fd int, buffer []byte) {
	count, err := syscall.Read(fd, buffer)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return
	}
	if count > 0 {
		f.add(int32(fd))
	} else {
		f.remove(int32(fd))
	}
}

func (f *floor) add(fd int32) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, known := f.place[fd]; known {
		return
	}
	syscall.Write(int(fd), []byte(floorHead))
	f.place[fd] = len(f.fds)
	f.fds = append(f.fds, fd)
}

func (f *floor) remove(fd int32) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if place, known := f.place[fd]; known {
		last := f.fds[len(f.fds)-1]
		f.fds[place], f.place[last] = last, place
		f.fds = f.fds[:len(f.fds)-1]
		delete(f.place, fd)
	}
	syscall.Close(int(fd))
}

func listen(port int) (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(fd, loopback(port)); err != nil {
		return 0, err
	}
	return fd, syscall.Listen(fd, backlog)
}

func loopback(port int) *syscall.SockaddrInet4 {
	return &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

// watch tells epoll which events of a descriptor to report, under which id.
func watch(poll, how, fd int, id int32, events uint32) error {
	return syscall.EpollCtl(poll, how, fd, &syscall.EpollEvent{Events: events, Fd: id})
}
