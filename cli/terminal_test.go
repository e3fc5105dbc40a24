package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/perigee-sched/perigee/api"
)

// terminal is one that knows what screen uses. Lines that leave it at the top go
// into the scrollback; it breaks lines anew when it becomes narrower.
type terminal struct {
	width, height int
	rows          []string // of the scrollback and the screen
	row, column   int
	writes        []time.Time
}

func (t *terminal) size() (int, int) { return t.width, t.height }

func (t *terminal) Write(b []byte) (int, error) {
	t.writes = append(t.writes, time.Now())
	for s := string(b); s != ""; {
		if code := escape.FindStringIndex(s); code != nil && code[0] == 0 { // colours
			s = s[code[1]:]
			continue
		}
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			i := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			t.control(rest[:i], rest[i])
			s = rest[i+1:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		t.put(r)
		s = s[n:]
	}
	return len(b), nil
}

func (t *terminal) control(arguments string, command byte) {
	n := 1
	_, _ = fmt.Sscan(arguments, &n)
	switch command {
	case 'A':
		t.row = max(t.row-n, t.top())
	case 'K':
		t.line()
		t.rows[t.row] = string([]rune(t.rows[t.row])[:min(t.column, len([]rune(t.rows[t.row])))])
	case 'J':
		t.line()
		t.rows = t.rows[:t.row+1]
		t.control("", 'K')
	case 'h', 'l':
	default:
		panic("the terminal does not know " + string(command))
	}
}

func (t *terminal) top() int { return max(0, len(t.rows)-t.height) }

func (t *terminal) line() {
	for len(t.rows) <= t.row {
		t.rows = append(t.rows, "")
	}
}

func (t *terminal) put(r rune) {
	t.line()
	switch r {
	case '\n':
		t.row, t.column = t.row+1, 0
		t.line()
	case '\r':
		t.column = 0
	default:
		if t.column == t.width {
			t.put('\n')
		}
		line := []rune(t.rows[t.row])
		for len(line) <= t.column {
			line = append(line, ' ')
		}
		line[t.column] = r
		t.rows[t.row] = string(line)
		t.column++
	}
}

// resize breaks the lines anew that are too wide now.
func (t *terminal) resize(width int) {
	var rows []string
	for _, row := range t.rows {
		for r := []rune(row); ; r = r[width:] {
			if len(r) <= width {
				rows = append(rows, string(r))
				break
			}
			rows = append(rows, string(r[:width]))
		}
	}
	t.rows, t.width, t.row = rows, width, len(rows)-1
}

func (t *terminal) String() string {
	return strings.TrimRight(strings.Join(t.rows, "\n"), "\n")
}

// TestScreen_Redraws: a frame replaces the one before, lines that stay are above
// it, and nothing else is touched.
func TestScreen_Redraws(t *testing.T) {
	t.Parallel()
	term := &terminal{width: 40, height: 10}
	fmt.Fprint(term, "$ perigee deploy\n")
	s := &screen{out: term, size: term.size}
	s.draw([]string{"one", "two", "three"})
	require.Equal(t, "$ perigee deploy\none\ntwo\nthree", term.String())
	s.stay("12:00:00  it happened")
	s.draw([]string{"uno", "two"})
	require.Equal(t, "$ perigee deploy\n12:00:00  it happened\nuno\ntwo", term.String())
	n := len(term.writes)
	s.draw([]string{"uno", "two"})
	require.Len(t, term.writes, n, "what is the same is not written again")
	s.stay("and more\nof it")
	s.close()
	require.Equal(t, "$ perigee deploy\n12:00:00  it happened\nand more\nof it", term.String())
}

// TestScreen_Resizes: also when lines are broken anew nothing of the old frame is
// left, and nothing above it is lost.
func TestScreen_Resizes(t *testing.T) {
	t.Parallel()
	term := &terminal{width: 60, height: 12}
	fmt.Fprint(term, "$ perigee deploy\n")
	s := &screen{out: term, size: term.size}
	frame := []string{strings.Repeat("a", 50), "b", strings.Repeat("c", 100)}
	s.draw(frame)
	require.Equal(t, "$ perigee deploy\n"+frame[0]+"\nb\n"+strings.Repeat("c", 58)+"…", term.String())
	for _, width := range []int{20, 35, 60, 25} {
		term.resize(width)
		s.draw(frame)
		require.Equal(t, "$ perigee deploy\n"+clip(frame[0], width-1)+"\nb\n"+clip(frame[2], width-1), term.String(), width)
	}
}

// TestScreen_HigherThanTheTerminal: a frame that does not fit is cut, since what
// has left the screen could not be replaced.
func TestScreen_HigherThanTheTerminal(t *testing.T) {
	t.Parallel()
	term := &terminal{width: 40, height: 4}
	s := &screen{out: term, size: term.size}
	for i := range 5 {
		s.stay(fmt.Sprint("line ", i))
		s.draw([]string{"a", "b", "c", "d", "e"})
	}
	require.Equal(t, "line 0\nline 1\nline 2\nline 3\nline 4\na\nb\nc", term.String())
}

func TestClip(t *testing.T) {
	t.Parallel()
	require.Equal(t, "ab…", clip("abcd", 3))
	require.Equal(t, "abcd", clip("abcd", 4))
	require.Equal(t, "\x1b[31mab…\x1b[0m", clip("\x1b[31mabcd\x1b[0m", 3))
	require.Equal(t, "日…", clip("日本語", 4))
	require.Equal(t, 6, columns("日本語"))
	require.Equal(t, "a\ufffd…", clip("a\xffbcd", 3))
	require.Equal(t, "one two three", oneLine("one\r\n\ttwo \x1b[2J\x1b[31mthree\a"))
	require.Equal(t, "  a b", plainLine("  a\tb\x1b[0m\x07"))
	require.Equal(t, []string{"waits: one two three", "  four five six seven"}, wrap("waits: one two three four five six seven", 24, 3))
	require.Equal(t, []string{strings.Repeat("x", 50)}, wrap(strings.Repeat("x", 50), 30, 3))
}

// play tells the messages of a recording, so long after one another, and then
// waits for the end of ctx if it is not over.
func (r recording) play(pause time.Duration) func(context.Context) iter.Seq2[*api.Deploy, error] {
	return func(ctx context.Context) iter.Seq2[*api.Deploy, error] {
		return func(yield func(*api.Deploy, error) bool) {
			for _, d := range r.messages {
				if !yield(d, nil) {
					return
				}
				select {
				case <-time.After(pause):
				case <-ctx.Done():
					yield(nil, ctx.Err())
					return
				}
			}
			<-ctx.Done()
		}
	}
}

func (r recording) watch(term *terminal, pause time.Duration) *deployWatch {
	a := &app{Streams: Streams{Out: term, Err: term}, now: time.Now, terminal: true, color: true}
	return &deployWatch{app: a, follow: r.play(pause), screen: &screen{out: term, size: term.size},
		words: func(context.Context, *api.Deploy) []string {
			return []string{"  its last lines:", "    cannot open database"}
		},
		view: rolloutView{app: a, spec: r.deploy.Spec}, log: deployLog{app: a, spec: r.deploy.Spec}}
}

// TestDeployWatch_IsCalm: a terminal is written to at most five times a second,
// however fast a deploy moves, and is as it was before when it is over.
func TestDeployWatch_IsCalm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := record(t, "canary")
		term := &terminal{width: 80, height: 24}
		end, err := r.watch(term, 7*time.Millisecond).run(t.Context())
		require.NoError(t, err)
		require.Equal(t, api.DeploySucceeded, end.State)
		require.NotContains(t, term.String(), "Ctrl-C")
		require.Contains(t, term.String(), "paused: by root: look at the logs")

		term = &terminal{width: 80, height: 24}
		_, err = r.watch(term, 3*time.Second).run(t.Context())
		require.NoError(t, err)
		require.Greater(t, len(term.writes), len(r.messages), "times that are left go on between messages")
		for i := 1; i < len(term.writes)-2; i++ {
			require.GreaterOrEqual(t, term.writes[i].Sub(term.writes[i-1]), time.Second/5)
		}
	})
}

// TestDeployWatch_Interrupted: the frame stays as it was.
func TestDeployWatch_Interrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := record(t, "canary")
		r.messages = r.messages[:3]
		term := &terminal{width: 80, height: 24}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := r.watch(term, time.Second).run(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Contains(t, term.String(), "▸ one      1 of 6: bakes")
	})
}

// TestDeployWatch_NoScheduler: the loss of the stream is told once, on a terminal
// in the frame, and elsewhere as a line.
func TestDeployWatch_NoScheduler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := record(t, "canary")
		var out strings.Builder
		w := r.watch(&terminal{width: 80, height: 24}, time.Second)
		w.screen, w.app.Out = nil, &out
		w.follow = func(ctx context.Context) iter.Seq2[*api.Deploy, error] {
			return func(yield func(*api.Deploy, error) bool) {
				yield(r.messages[0], nil)
				w.app.lost(errors.New("the line is cut"))
				w.app.lost(errors.New("the line is cut"))
				yield(r.messages[len(r.messages)-1], nil)
			}
		}
		end, err := w.run(t.Context())
		require.NoError(t, err)
		require.True(t, end.State.Over())
		require.Equal(t, 1, strings.Count(out.String(), "no scheduler answers: the line is cut"))
	})
}

// TestDeployWatch_ShowsWhyItFails: when instances return, the terminal has what
// the failing task wrote, above the frame and once.
func TestDeployWatch_ShowsWhyItFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := record(t, "rollback")
		returning := *r.messages[1]
		rollout := *returning.Rollout
		rollout.Phase, rollout.Cause = api.PhaseReturning, "instance 0 failed 2 times"
		returning.State, returning.Rollout = api.DeployRollingBack, &rollout
		r.messages = []*api.Deploy{r.messages[0], &returning, &returning, r.messages[2]}
		term := &terminal{width: 120, height: 24}
		w := r.watch(term, time.Second)
		end, err := w.run(t.Context())
		require.NoError(t, err)
		require.Equal(t, api.DeployRolledBack, end.State)
		require.True(t, w.worded)
		require.Contains(t, term.String(), "returns to deploy 4: instance 0 failed 2 times\n  its last lines:\n    cannot open database")
		require.Equal(t, 1, strings.Count(term.String(), "\n    cannot open database"))
	})
}
