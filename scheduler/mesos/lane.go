package mesos

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// window is how many calls of a lane may be unanswered. Requests are
	// pipelined: libprocess handles those of a connection in their order and
	// answers in it (3rdparty/libprocess/src/http_proxy.hpp), as net/http does.
	window = 128
	// flushAt is how many bytes of requests are written at once.
	flushAt = 64 << 10
	// maxAnswer bounds what is read of an answer's text.
	maxAnswer = 64 << 10
)

var errIdleClosed = errors.New("closed by the master while idle")

// lane carries calls over one connection, in order. The connection is made
// when there is something to send, and again if the master closes it meanwhile.
type lane struct {
	session *session
	wake    chan struct{} // something waits; capacity 1
	waiting []*call       // guarded by the queue
	taken   []*call       // of the writer: next to be written

	mu   sync.Mutex
	sent []*call       // to be answered, in order
	room chan struct{} // an answer came; capacity 1
}

func newLane(s *session) *lane {
	return &lane{session: s, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// hand gives the lane calls. The queue is locked.
func (l *lane) hand(calls ...*call) {
	l.waiting = append(l.waiting, calls...)
	signal(l.wake)
}

// run carries calls until ctx ends or the subscription is over, which the error says.
func (l *lane) run(ctx context.Context) error {
	for {
		select {
		case <-l.wake:
			signal(l.wake) // for the writer
		case <-ctx.Done():
			return ctx.Err()
		}
		conn, err := l.session.driver.dial(ctx, l.session.master)
		if err != nil {
			return endf("connect to the master %s: %v", l.session.master, err)
		}
		if err := l.serve(ctx, conn); err != errIdleClosed {
			return err
		}
		if len(l.taken) > 0 {
			signal(l.wake)
		}
	}
}

func (l *lane) serve(ctx context.Context, conn net.Conn) error {
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	g.Go(func() error { return l.write(ctx, conn) })
	g.Go(func() error { return l.read(conn) })
	err := g.Wait()
	if err == errIdleClosed && l.next() != nil {
		return endf("the master closed a connection with calls on it")
	}
	return err
}

// write writes what waits, as much at once as there is.
func (l *lane) write(ctx context.Context, conn net.Conn) error {
	var requests []byte
	flush := func() error {
		if len(requests) == 0 {
			return nil
		}
		if !l.session.driver.o.Leads() {
			return errDeposed
		}
		if err := conn.SetWriteDeadline(time.Now().Add(l.session.driver.o.CallTimeout)); err != nil {
			return endf("write to the master: %v", err)
		}
		if _, err := conn.Write(requests); err != nil {
			return endf("write to the master: %v", err)
		}
		requests = requests[:0]
		return nil
	}
	wait := func(for_ <-chan struct{}) error {
		if err := flush(); err != nil {
			return err
		}
		select {
		case <-for_:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		if len(l.taken) == 0 {
			if l.taken = l.session.driver.queue.take(l); len(l.taken) == 0 {
				if err := wait(l.wake); err != nil {
					return err
				}
				continue
			}
		}
		for l.full() {
			if err := wait(l.room); err != nil {
				return err
			}
		}
		c := l.taken[0]
		l.taken = l.taken[1:]
		if more := l.session.appendRequest(requests, c); len(more) > len(requests) {
			requests = more
			l.fly(conn, c)
		}
		if len(requests) >= flushAt {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// read reads answers, and waits for them for as long as calls are out.
func (l *lane) read(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, 16<<10)
	for {
		if _, err := r.Peek(1); err != nil {
			var timeout net.Error
			switch {
			case errors.As(err, &timeout) && timeout.Timeout():
				return endf("the master did not answer a call within %v", l.session.driver.o.CallTimeout)
			case l.next() == nil:
				return errIdleClosed
			}
			return endf("read from the master: %v", err)
		}
		status, text, err := readAnswer(r)
		if err != nil {
			return endf("read from the master: %v", err)
		}
		c := l.land(conn)
		if c == nil {
			return endf("the master answered %d to no call", status)
		}
		if err := l.session.answered(c, status, text); err != nil {
			return err
		}
	}
}

// fly notes that a call is out, and lets reading end when its answer is late.
func (l *lane) fly(conn net.Conn, c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.deadline = time.Now().Add(l.session.driver.o.CallTimeout)
	if l.sent = append(l.sent, c); len(l.sent) == 1 {
		conn.SetReadDeadline(c.deadline) // if it fails, so does reading
	}
}

// land returns the call that was answered.
func (l *lane) land(conn net.Conn) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sent) == 0 {
		return nil
	}
	c := l.sent[0]
	l.sent[0], l.sent = nil, l.sent[1:]
	var deadline time.Time
	if len(l.sent) > 0 {
		deadline = l.sent[0].deadline
	}
	conn.SetReadDeadline(deadline)
	signal(l.room)
	return c
}

func (l *lane) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent) >= window
}

// next is the call whose answer is due, nil when none is.
func (l *lane) next() *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sent) == 0 {
		return nil
	}
	return l.sent[0]
}

var post = &http.Request{Method: http.MethodPost}

// readAnswer reads the answer to a call: its status and, unless 202, its text.
func readAnswer(r *bufio.Reader) (status int, text string, err error) {
	answer, err := http.ReadResponse(r, post)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	if answer.ContentLength == 0 {
		return answer.StatusCode, "", nil
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
	}
	return answer.StatusCode, strings.TrimSpace(string(b)), err
}
