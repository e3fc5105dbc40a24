package zookeeper

import (
	"io"
	"net"
	"strings"
	"time"
)

// askTimeout bounds a question to a server.
const askTimeout = 500 * time.Millisecond

// ask has a server that gives no session say why. It is asked by a "four letter word", the one that
// servers answer unless they are told not to, also while they serve nobody.
func ask(server string) string {
	answer := fourLetters(server, "srvr")
	switch {
	case strings.Contains(answer, "Mode: read-only"):
		return "is in read-only mode: it has lost touch with most of the other servers"
	case strings.Contains(answer, "not currently serving requests"):
		return "serves nobody: it has lost touch with most of the other servers, or is still starting"
	case strings.Contains(answer, "Mode: "):
		return "serves by now; if it goes on closing our connections, see its log, and maxClientCnxns in its configuration"
	case answer != "":
		return "gives no session: has it lost touch with the other servers?"
	}
	return "accepts connections and answers nothing (not ZooKeeper, or one that hangs?)"
}

func fourLetters(server, word string) string {
	c, err := net.DialTimeout("tcp", server, askTimeout)
	if err != nil {
		return ""
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return ""
	}
	if _, err := io.WriteString(c, word); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(io.LimitReader(c, 16<<10)) // what came before it failed is of use too
	return string(answer)
}
