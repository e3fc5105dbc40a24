package model

import (
	"errors"
	"fmt"
	"strings"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/executor"
	operator "github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

// absent is the error for a union whose type names a part that is not there.
func absent(part string) error { return fmt.Errorf("Expecting '%s' to be present", part) }

// validUUID says whether b is a uuid that Mesos takes: 16 bytes of a known
// version. The variant is not looked at.
func validUUID(b []byte) bool {
	return len(b) == 16 && b[6]>>4 >= 1 && b[6]>>4 <= 5
}

var errUUID = errors.New("Not a valid UUID")

// ValidateScheduler returns why the master refuses a scheduler call by its
// form alone, nil if it does not.
func ValidateScheduler(c *scheduler.Call) error {
	if c.Type == scheduler.Call_UNKNOWN {
		return absent("type")
	}
	if c.Type == scheduler.Call_SUBSCRIBE {
		if c.Subscribe == nil {
			return absent("subscribe")
		}
		if c.FrameworkID.GetValue() != c.Subscribe.GetFrameworkInfo().GetID().GetValue() {
			return errors.New("'framework_id' differs from 'subscribe.framework_info.id'")
		}
		return nil
	}
	if c.FrameworkID == nil {
		return absent("framework_id")
	}
	missing := func(is bool, part string) error {
		if is {
			return absent(part)
		}
		return nil
	}
	switch c.Type {
	case scheduler.Call_ACCEPT:
		return missing(c.Accept == nil, "accept")
	case scheduler.Call_DECLINE:
		return missing(c.Decline == nil, "decline")
	case scheduler.Call_ACCEPT_INVERSE_OFFERS:
		return missing(c.AcceptInverseOffers == nil, "accept_inverse_offers")
	case scheduler.Call_DECLINE_INVERSE_OFFERS:
		return missing(c.DeclineInverseOffers == nil, "decline_inverse_offers")
	case scheduler.Call_KILL:
		return missing(c.Kill == nil, "kill")
	case scheduler.Call_SHUTDOWN:
		return missing(c.Shutdown == nil, "shutdown")
	case scheduler.Call_ACKNOWLEDGE:
		if c.Acknowledge != nil && !validUUID(c.Acknowledge.UUID) {
			return errUUID
		}
		return missing(c.Acknowledge == nil, "acknowledge")
	case scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		return missing(c.AcknowledgeOperationStatus == nil, "acknowledge_operation_status")
	case scheduler.Call_RECONCILE:
		return missing(c.Reconcile == nil, "reconcile")
	case scheduler.Call_RECONCILE_OPERATIONS:
		return missing(c.ReconcileOperations == nil, "reconcile_operations")
	case scheduler.Call_MESSAGE:
		return missing(c.Message == nil, "message")
	case scheduler.Call_REQUEST:
		return missing(c.Request == nil, "request")
	case scheduler.Call_UPDATE_FRAMEWORK:
		if c.UpdateFramework != nil &&
			c.FrameworkID.GetValue() != c.UpdateFramework.FrameworkInfo.GetID().GetValue() {
			return errors.New("'framework_id' differs from 'update_framework.framework_info.id'")
		}
		return missing(c.UpdateFramework == nil, "update_framework")
	}
	return nil
}

// ValidateExecutor returns why an agent refuses an executor call by its form
// alone, nil if it does not.
func ValidateExecutor(c *executor.Call) error {
	switch c.Type {
	case executor.Call_UNKNOWN:
		return absent("type")
	case executor.Call_SUBSCRIBE:
		if c.Subscribe == nil {
			return absent("subscribe")
		}
	case executor.Call_MESSAGE:
		if c.Message == nil {
			return absent("message")
		}
	case executor.Call_UPDATE:
		return validateUpdate(c)
	}
	return nil
}

func validateUpdate(c *executor.Call) error {
	if c.Update == nil {
		return absent("update")
	}
	s := &c.Update.Status
	who := fmt.Sprintf("from executor %s of framework %s", c.ExecutorID.Value, c.FrameworkID.Value)
	switch {
	case s.UUID == nil:
		return absent("uuid")
	case !validUUID(s.UUID):
		return errUUID
	case s.ExecutorID != nil && s.ExecutorID.Value != c.ExecutorID.Value:
		return fmt.Errorf("ExecutorID in Call: %s does not match ExecutorID in TaskStatus: %s",
			c.ExecutorID.Value, s.ExecutorID.Value)
	case s.GetSource() != mesos.SOURCE_EXECUTOR:
		return fmt.Errorf("Received Call %s with invalid source, expecting 'SOURCE_EXECUTOR'", who)
	case s.GetState() == mesos.TASK_STAGING:
		return fmt.Errorf("Received TASK_STAGING %s which is not allowed", who)
	}
	return nil
}

// ValidateOperator returns why the master refuses an operator call by its form
// alone, nil if it does not.
func ValidateOperator(c *operator.Call) error {
	if c.Type == operator.Call_UNKNOWN {
		return absent("type")
	}
	present := map[operator.Call_Type]bool{
		operator.Call_SET_LOGGING_LEVEL:           c.SetLoggingLevel != nil,
		operator.Call_LIST_FILES:                  c.ListFiles != nil,
		operator.Call_READ_FILE:                   c.ReadFile != nil,
		operator.Call_UPDATE_WEIGHTS:              c.UpdateWeights != nil,
		operator.Call_UPDATE_MAINTENANCE_SCHEDULE: c.UpdateMaintenanceSchedule != nil,
		operator.Call_START_MAINTENANCE:           c.StartMaintenance != nil,
		operator.Call_STOP_MAINTENANCE:            c.StopMaintenance != nil,
		operator.Call_DRAIN_AGENT:                 c.DrainAgent != nil,
		operator.Call_DEACTIVATE_AGENT:            c.DeactivateAgent != nil,
		operator.Call_REACTIVATE_AGENT:            c.ReactivateAgent != nil,
		operator.Call_TEARDOWN:                    c.Teardown != nil,
		operator.Call_MARK_AGENT_GONE:             c.MarkAgentGone != nil,
	}
	if ok, needed := present[c.Type]; needed && !ok {
		return absent(strings.ToLower(c.Type.String()))
	}
	return nil
}

// validID returns what is wrong with an id that Mesos makes a directory of.
func validID(id string) error {
	switch {
	case id == "":
		return errors.New("ID must not be empty")
	case len(id) > 255:
		return errors.New("ID must not be greater than 255 characters")
	case id == "." || id == "..":
		return fmt.Errorf("'%s' is disallowed", id)
	case strings.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '/' || r == '\\' }):
		return fmt.Errorf("'%s' contains invalid characters", id)
	}
	return nil
}

func validRole(role string) error {
	switch {
	case role == "*":
		return nil
	case role == "":
		return errors.New("Role names cannot be the empty string")
	case strings.HasPrefix(role, "/"):
		return fmt.Errorf("Role '%s' cannot start with a slash", role)
	case strings.HasSuffix(role, "/"):
		return fmt.Errorf("Role '%s' cannot end with a slash", role)
	case strings.Contains(role, "//"):
		return fmt.Errorf("Role '%s' cannot contain two adjacent slashes", role)
	}
	for _, part := range strings.Split(role, "/") {
		switch {
		case part == "." || part == ".." || part == "*":
			return fmt.Errorf("Role '%s' cannot include '%s' as a component", role, part)
		case strings.HasPrefix(part, "-"):
			return fmt.Errorf("Role component '%s' is invalid because it starts with a dash", part)
		case strings.ContainsAny(part, "\x7f\t\n\v\f\r \b"):
			return fmt.Errorf("Role component '%s' is invalid because it contains backspace or whitespace", part)
		}
	}
	return nil
}

// validateFrameworkInfo checks what the master checks of any FrameworkInfo.
func validateFrameworkInfo(info *mesos.FrameworkInfo) error {
	if hasCapability(info, mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		if info.Role != nil {
			return errors.New("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable")
		}
		seen := map[string]int{}
		var twice []string
		for _, role := range info.Roles {
			if seen[role]++; seen[role] == 2 {
				twice = append(twice, role)
			}
		}
		if twice != nil {
			return fmt.Errorf("'FrameworkInfo.roles' contains duplicate items: { %s }", strings.Join(twice, ", "))
		}
		for _, role := range info.Roles {
			if err := validRole(role); err != nil {
				return fmt.Errorf("'FrameworkInfo.roles' contains invalid role: %w", err)
			}
		}
	} else {
		if len(info.Roles) > 0 {
			return errors.New("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable")
		}
		if err := validRole(info.GetRole()); err != nil {
			return fmt.Errorf("'FrameworkInfo.role' is not a valid role: %w", err)
		}
	}
	if id := info.GetID().GetValue(); id != "" {
		return validID(id)
	}
	return nil
}

// validateFrameworkChange checks what may not change of a framework.
func validateFrameworkChange(before, after *mesos.FrameworkInfo) error {
	switch {
	case before.GetPrincipal() != after.GetPrincipal():
		return errors.New("Changing framework's principal is not allowed.")
	case before.User != after.User:
		return fmt.Errorf("Updating 'FrameworkInfo.user' is unsupported; attempted to update from '%s' to '%s'",
			before.User, after.User)
	case before.GetCheckpoint() != after.GetCheckpoint():
		return fmt.Errorf("Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '%t' to '%t'",
			before.GetCheckpoint(), after.GetCheckpoint())
	}
	return nil
}

func hasCapability(info *mesos.FrameworkInfo, c mesos.FrameworkInfo_Capability_Type) bool {
	for i := range info.Capabilities {
		if info.Capabilities[i].Type == c {
			return true
		}
	}
	return false
}

// rolesOf is what roles a framework is in.
func rolesOf(info *mesos.FrameworkInfo) []string {
	if hasCapability(info, mesos.FrameworkInfo_Capability_MULTI_ROLE) {
		return info.Roles
	}
	return []string{info.GetRole()}
}
