package mesos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
	"golang.org/x/sync/errgroup"

	"github.com/perigee-sched/perigee/scheduler/core"
)

const (
	schedulerPath = "/api/v1/scheduler"
	protobufType  = "application/x-protobuf"
	// defaultHeartbeat is Mesos's, for a master that tells none.
	defaultHeartbeat = 15 * time.Second
)

// session is one subscription.
type session struct {
	driver *Driver
	master string // host:port

	launcher *launcher
	head     string // of each request, up to its length
	// heartbeats that came. The second proves that the subscription is not one
	// of a row that the master ends at once.
	heartbeats int
	asked      map[string]bool // agents that GET_AGENTS was asked for
	agentsDue  chan struct{}   // capacity 1
}

// serve subscribes and stays until the subscription ends; the error says why.
// It returns what was not answered to the outbox.
func (d *Driver) serve(ctx context.Context, master string, watch func(context.Context) error, sub core.Subscribe) (settled bool, err error) {
	s := &session{
		driver: d, master: master,
		asked:     make(map[string]bool),
		agentsDue: make(chan struct{}, 1),
	}
	var lanes []*lane
	defer func() { s.close(lanes) }()

	dialing, cancel := context.WithTimeout(ctx, d.o.CallTimeout)
	defer cancel()
	conn, err := d.dial(dialing, master)
	if err != nil {
		return false, endf("connect to the master %s: %v", master, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	quiet := &quietConn{Conn: conn, limit: d.o.CallTimeout}
	records, stream, err := s.subscribe(quiet, sub)
	if err != nil {
		return false, err
	}
	framework, heartbeat, err := s.subscribed(records)
	if err != nil {
		return false, err
	}
	quiet.limit = time.Duration(float64(heartbeat) * d.o.MaxSilence)
	s.launcher = newLauncher(framework, d.o)
	s.head = requestHead(master, stream, d.o.Credentials)
	for range d.o.Lanes + 1 { // one for questions
		lanes = append(lanes, newLane(s))
	}
	if err := d.outbox.offer(ctx, core.Subscribed{FrameworkID: framework, Master: master}); err != nil {
		return false, err
	}
	d.stats.subscriptions.Add(1)
	d.stats.subscribed.Store(true)
	d.log.Info("subscribed to mesos", "master", master, "framework", framework, "heartbeat", heartbeat)
	d.queue.open(lanes)
	signal(s.agentsDue)

	g, inner := errgroup.WithContext(ctx)
	defer context.AfterFunc(inner, func() { conn.Close() })()
	g.Go(func() error { return s.stream(inner, records) })
	g.Go(func() error { return s.agents(inner) })
	g.Go(func() error { return watch(inner) })
	for _, l := range lanes {
		g.Go(func() error { return l.run(inner) })
	}
	err = g.Wait()
	return s.heartbeats > 1, err
}

// subscribe sends SUBSCRIBE and reads the answer's head.
func (s *session) subscribe(conn net.Conn, sub core.Subscribe) (*recordReader, string, error) {
	count(&s.driver.stats.calls, int32(scheduler.Call_SUBSCRIBE))
	m := subscribeCall(s.driver.o.Framework, sub)
	request := appendMessage([]byte(requestHead(s.master, "", s.driver.o.Credentials)), m)
	if err := conn.SetWriteDeadline(time.Now().Add(s.driver.o.CallTimeout)); err != nil {
		return nil, "", endf("SUBSCRIBE: %v", err)
	}
	if !s.driver.o.Leads() {
		return nil, "", errDeposed
	}
	if _, err := conn.Write(request); err != nil {
		return nil, "", endf("SUBSCRIBE: %v", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), post)
	if err != nil {
		return nil, "", endf("SUBSCRIBE: %v", err)
	}
	if answer.StatusCode == http.StatusOK {
		if t := answer.Header.Get("Content-Type"); t != protobufType {
			return nil, "", endf("SUBSCRIBE was answered in %q, wanted %s", t, protobufType)
		}
		stream := answer.Header.Get("Mesos-Stream-Id")
		if stream == "" {
			return nil, "", endf("SUBSCRIBE was answered without Mesos-Stream-Id: is %s a mesos master?", s.master)
		}
		return &recordReader{r: bufio.NewReaderSize(answer.Body, 64<<10)}, stream, nil
	}
	count(&s.driver.stats.failures, int32(scheduler.Call_SUBSCRIBE))
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch answer.StatusCode {
	case http.StatusTemporaryRedirect:
		return nil, "", endf("%s does not lead (any more)", s.master)
	case http.StatusBadRequest:
		return nil, "", refused(string(text))
	case http.StatusUnauthorized:
		if s.driver.o.Credentials.Principal == "" {
			return nil, "", endf("the master wants schedulers to authenticate: set mesos.principal and mesos.secret (%s)", text)
		}
		return nil, "", endf("the master does not know mesos.principal %q with this mesos.secret: correct them, or the master's --credentials (%s)", s.driver.o.Credentials.Principal, text)
	}
	return nil, "", endf("SUBSCRIBE was answered %s: %s", answer.Status, text)
}

// subscribed reads up to SUBSCRIBED, which comes first.
func (s *session) subscribed(records *recordReader) (framework string, heartbeat time.Duration, err error) {
	for {
		e, err := s.event(records)
		switch {
		case err != nil:
			return "", 0, err
		case e.Type == scheduler.Event_ERROR:
			return "", 0, refused(e.GetError().GetMessage())
		case e.Type != scheduler.Event_SUBSCRIBED:
			continue
		}
		heartbeat = defaultHeartbeat
		if seconds := e.Subscribed.GetHeartbeatIntervalSeconds(); seconds > 0 {
			heartbeat = time.Duration(seconds * float64(time.Second))
		}
		return e.Subscribed.GetFrameworkID().GetValue(), heartbeat, nil
	}
}

// errDeposed ends a subscription, or prevents it.
var errDeposed = endf("nothing is sent: another scheduler may lead")

// close drops what was not answered, and says so of launches.
func (s *session) close(lanes []*lane) {
	d := s.driver
	d.stats.subscribed.Store(false)
	const reason = "the subscription ended"
	for _, l := range lanes {
		for _, c := range l.sent {
			d.drop(c.Call, reason+" before Mesos answered")
		}
	}
	for _, c := range d.queue.close() {
		d.drop(c.Call, reason+" before it was sent")
	}
	d.offers.clear()
}

// appendRequest appends the request of a call to b. A call that cannot be made
// is answered here, and appends nothing.
func (s *session) appendRequest(b []byte, c *call) []byte {
	m, err := s.message(c.Call)
	if err != nil {
		s.driver.log.Error("launch not possible", "error", err)
		s.driver.drop(c.Call, err.Error())
		if m == nil {
			s.driver.queue.answered(c)
			return b
		}
		c.Call = core.Decline{} // is what is answered
	}
	count(&s.driver.stats.calls, int32(m.Type))
	return appendMessage(append(b, s.head...), m)
}

// answered is called with the answer to each call, in the order of its lane.
// An error ends the subscription.
func (s *session) answered(c *call, status int, text string) error {
	defer s.driver.queue.answered(c)
	accept, isAccept := c.Call.(core.Accept)
	if status == http.StatusAccepted {
		if isAccept {
			s.driver.outbox.put(core.Accepted{Tasks: taskIDs(accept)})
		}
		return nil
	}
	kind := callType(c.Call)
	count(&s.driver.stats.failures, int32(kind))
	problem := fmt.Sprintf("%s was answered %d: %s", kind, status, text)
	s.driver.log.Error("mesos refused a call", "call", kind, "status", status, "text", text)
	if isAccept {
		s.driver.outbox.put(core.Accepted{Tasks: taskIDs(accept), Err: problem})
	}
	if status >= 500 || staleStream(status, text) {
		return endError(problem)
	}
	return nil
}

func requestHead(master, stream string, c Credentials) string {
	head := "POST " + schedulerPath + " HTTP/1.1\r\nHost: " + master + "\r\nUser-Agent: perigee\r\n" +
		"Content-Type: " + protobufType + "\r\nAccept: " + protobufType + "\r\n"
	if c.Principal != "" {
		head += "Authorization: " + c.header() + "\r\n"
	}
	if stream != "" {
		head += "Mesos-Stream-Id: " + stream + "\r\n"
	}
	return head + "Content-Length: "
}

// appendMessage appends the rest of a request's head, and its body.
func appendMessage(b []byte, m *scheduler.Call) []byte {
	size := m.Size()
	b = strconv.AppendInt(b, int64(size), 10)
	b = append(b, "\r\n\r\n"...)
	start := len(b)
	b = append(b, make([]byte, size)...)
	if _, err := m.MarshalTo(b[start:]); err != nil {
		// Only for a required field that is nil, and message sets them all.
		panic(fmt.Sprintf("mesos: marshal %s: %v", m.Type, err))
	}
	return b
}

// quietConn lets a read fail when nothing came for limit. Time in which nobody
// reads does not count, so an engine that is slow is not taken for a dead master.
type quietConn struct {
	net.Conn
	limit time.Duration
}

func (c *quietConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}
