package mesos

import (
	"fmt"
	"strings"
)

// FatalError ends Run: subscribing again can never succeed.
type FatalError struct {
	// Mesos is what the master said.
	Mesos string
	// Advice is what an operator can do about it.
	Advice string
}

func (e *FatalError) Error() string {
	return fmt.Sprintf("mesos refuses this framework: %s: %s", e.Mesos, e.Advice)
}

// endError ends a subscription; another follows.
type endError string

func (e endError) Error() string { return string(e) }

func endf(format string, args ...any) error { return endError(fmt.Sprintf(format, args...)) }

// refusals are the messages of ERROR events that will not change until somebody
// changes the configuration (Mesos: src/master/validation.cpp, namespace
// framework). Others, such as those of authorization, may: they are retried.
var refusals = []struct{ part, advice string }{
	{"Framework has been removed", "its id is spent, and its tasks are gone or not known to Mesos any more; " +
		"start with --new-framework to register as a new one (it first lists what would be abandoned)"},
	{"Completed framework", "its id is spent; start with --new-framework to register as a new one " +
		"(it first lists what would be abandoned)"},
	{"Updating 'FrameworkInfo.user'", "set mesos.user back to what it was, or start with --new-framework"},
	{"Updating 'FrameworkInfo.checkpoint'", "the framework id in the journal belongs to another program; " +
		"start with --new-framework"},
	{"framework's principal", "set mesos.principal back to what it was, or start with --new-framework"},
	{"'FrameworkInfo.", "correct mesos.role and the other settings of the framework"},
	{"failover_timeout", "correct mesos.failover_timeout"},
	{"--root_submissions", "set mesos.user to another user, or start the master with --root_submissions"},
	{"Suppressed roles", "this is an error of Perigee: report it"},
	{"Failed to validate", "this is an error of Perigee: report it"},
	{"Failed to parse body", "this is an error of Perigee: report it"},
}

// failedOver is the message of the ERROR event that a subscription ends with
// when another one of the same framework began.
const failedOver = "Framework failed over"

// refused classifies what a master said to a SUBSCRIBE, or later as ERROR.
func refused(message string) error {
	for _, r := range refusals {
		if strings.Contains(message, r.part) {
			return &FatalError{Mesos: message, Advice: r.advice}
		}
	}
	if message == failedOver {
		return endf("%s: another scheduler subscribed with this framework's id", message)
	}
	return endf("error from the master: %s", message)
}

// staleStream says whether the answer to a call means that its subscription is over.
func staleStream(status int, text string) bool {
	return status == 403 || status == 307 ||
		status == 400 && (strings.Contains(text, "stream ID") || strings.Contains(text, "Framework cannot be found"))
}
