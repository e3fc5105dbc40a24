package zktest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands between clients and one server.
type Proxy struct {
	Address string // for clients

	target   string
	listener net.Listener
	deaf     atomic.Bool
	delay    atomic.Int64 // ns
	running  sync.WaitGroup

	mu    sync.Mutex
	away  bool
	conns map[net.Conn]bool
}

// NewProxy passes connections on to target until Close.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Address: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.keep(client) {
		return
	}
	defer p.forget(client)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.keep(server) {
		return
	}
	defer p.forget(server)
	p.running.Go(func() {
		_, _ = io.Copy(late{server, &p.delay}, client)
		_ = server.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 && !p.deaf.Load() {
			_, err = client.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.away {
		p.conns[c] = true
	}
	return !p.away
}

func (p *Proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// late passes on what it is given after a while.
type late struct {
	to    net.Conn
	delay *atomic.Int64
}

func (l late) Write(b []byte) (int, error) {
	if d := time.Duration(l.delay.Load()); d > 0 {
		time.Sleep(d)
	}
	return l.to.Write(b)
}

// Delay has requests reach the server so much later than they were sent, as on a network.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Deaf holds back, and loses, what the server answers: requests still reach it.
func (p *Proxy) Deaf(deaf bool) { p.deaf.Store(deaf) }

// Cut breaks all connections. New ones are refused while away is true.
func (p *Proxy) Cut(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	for c := range p.conns {
		_ = c.Close()
	}
}

// Restore lets connections through again.
func (p *Proxy) Restore() {
	p.Deaf(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = false
}

// Close ends the proxy and waits for its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.Cut(true)
	p.running.Wait()
}
