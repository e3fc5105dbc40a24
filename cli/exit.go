package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/perigee-sched/perigee/api"
	"github.com/perigee-sched/perigee/api/client"
	"github.com/perigee-sched/perigee/config"
)

// Exit statuses; docs/cli.md has them for users.
const (
	codeFailed      = 1 // what was asked for was tried, and failed
	codeUsage       = 2 // the command line is wrong
	codeInvalid     = 3 // a file or value that was given is wrong
	codeNotFound    = 4 // there is no such job, task, run …
	codeConflict    = 5 // refused because of the state that it is in
	codeUnavailable = 6 // no scheduler answers, it cannot write now, or is asked too often
	codeChanges     = 7 // plan: there is something to change
	codeRefused     = 8 // the token that was shown, or none, is not enough
	// How a deploy ended that was waited for.
	codeDeployFailed = 10
	codeRolledBack   = 11
	codeCancelled    = 12
	codeSuperseded   = 13
	codeStandsStill  = 14  // it failed, and somebody is to decide
	codeTimedOut     = 124 // --timeout
	codeInterrupted  = 130 // Ctrl-C
)

// exitError is an error with an exit status of its own.
type exitError struct {
	code  int
	err   error
	quiet bool // all was said already
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{code: codeUsage, err: fmt.Errorf(format, args...)}
}

func failed(format string, args ...any) error {
	return &exitError{code: codeFailed, err: fmt.Errorf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &exitError{code: codeNotFound, err: fmt.Errorf(format, args...)}
}

func timedOut(format string, args ...any) error {
	return &exitError{code: codeTimedOut, err: fmt.Errorf(format, args...)}
}

// codeOf is the one place where errors become exit statuses.
func codeOf(err error) int {
	var (
		exit    *exitError
		problem *api.Problem
		wrong   *config.Error
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &problem) && problem.Type == "urn:perigee:forbidden":
		return codeRefused
	case errors.As(err, &problem):
		return codeOfStatus(problem.Status)
	case errors.As(err, &wrong), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return codeInvalid
	case unreachable(err):
		return codeUnavailable
	}
	return codeFailed
}

func codeOfStatus(status int) int {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge, http.StatusForbidden:
		return codeInvalid
	case http.StatusUnauthorized:
		return codeRefused
	case http.StatusNotFound, http.StatusGone:
		return codeNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return codeConflict
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return codeUnavailable
	}
	return codeFailed
}

// unreachable says whether a request to the scheduler failed on its way.
func unreachable(err error) bool {
	var (
		request *url.Error
		scheme  *client.SchemeError
	)
	return errors.As(err, &scheme) || errors.As(err, &request) && !errors.Is(err, context.Canceled)
}

// report tells the user about an error and returns the exit status.
func (a *app) report(err error) int {
	code := codeOf(err)
	var exit *exitError
	if err == nil || errors.As(err, &exit) && exit.quiet {
		return code
	}
	if a.json() {
		var problem *api.Problem
		if !errors.As(err, &problem) {
			problem = &api.Problem{Title: "the command failed", Detail: explained(a, err), Errors: placesOf(err)}
		}
		if text, jsonErr := json.Marshal(problem); jsonErr == nil {
			fmt.Fprintln(a.Err, string(text))
			return code
		}
	}
	fmt.Fprintln(a.Err, a.paint(red, "error:"), explained(a, err))
	if code == codeUsage && !a.started {
		fmt.Fprintln(a.Err, "perigee --help lists the commands, perigee COMMAND --help what each takes")
	}
	return code
}

// placesOf lists what is wrong with files, for programs.
func placesOf(err error) []api.ProblemField {
	var wrong *config.Error
	if !errors.As(err, &wrong) {
		return nil
	}
	places := make([]api.ProblemField, len(wrong.Problems))
	for i, p := range wrong.Problems {
		places[i] = api.ProblemField{Location: strings.TrimPrefix(p.Where+": "+p.Path, ": "), Message: p.Message}
		if p.Path == "" {
			places[i].Location = p.Where
		}
	}
	return places
}

// explained is an error in words that say what to do.
func explained(a *app, err error) string {
	var exit *exitError
	var problem *api.Problem
	switch {
	case errors.As(err, &exit), errors.As(err, &problem):
	case unreachable(err):
		return explainedUnreachable(err)
	}
	text := err.Error()
	if problem != nil {
		text += a.whatToShow(problem)
		// The paths of a request are of no use to who wrote a file or flags.
		text = strings.ReplaceAll(text, "\n  body.", "\n  ")
		text = strings.ReplaceAll(text, "\n  query.", "\n  ")
	}
	return text
}

// explainedUnreachable says why there is no answer, and what to do.
func explainedUnreachable(err error) string {
	address, reason := "", err
	var (
		request   *url.Error
		scheme    *client.SchemeError
		untrusted *tls.CertificateVerificationError
	)
	if errors.As(err, &scheme) {
		return fmt.Sprintf("%s is not answered: %v", scheme.Address, scheme)
	}
	if errors.As(err, &request) {
		reason = request.Err
		if u, parseErr := url.Parse(request.URL); parseErr == nil {
			address = " at " + u.Scheme + "://" + u.Host
		}
	}
	if errors.As(err, &untrusted) {
		return fmt.Sprintf("the certificate of the scheduler%s is not trusted: %v\n%s", address, untrusted.Err, toTrust(untrusted.Err))
	}
	return fmt.Sprintf("no scheduler answers%s: %s\n"+
		"Is it running? `make dev` starts one on this machine; PERIGEE_API or --api names another.", address, whyUnreachable(reason))
}

// toTrust says what to do about a certificate that is not trusted.
func toTrust(err error) string {
	var (
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &host):
		return "Use an address that it is for, or have one made for this address."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "Look at this machine's clock; if that is right, whoever runs the scheduler must renew it."
	}
	return "If an authority of your own has signed it, name the file with that authority's certificate: --ca or PERIGEE_CA."
}

// whyUnreachable is why a request failed on its way, in a few words.
func whyUnreachable(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
		return "the connection was lost" // cancelled: it was silent for too long
	}
	return err.Error()
}

// whatToShow says what to do about a token that is not enough.
func (a *app) whatToShow(p *api.Problem) string {
	switch {
	case p.Type == "urn:perigee:token-expired" || p.Type == "urn:perigee:token-revoked":
		return "\nAsk an admin for another: `perigee token create` makes it."
	case p.Status != http.StatusUnauthorized:
		return ""
	}
	return "\nPut yours into PERIGEE_TOKEN or ~/.config/perigee/token. An admin makes tokens with `perigee token create`, the first one `perigee token init`."
}
