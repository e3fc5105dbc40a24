package core

import "slices"

// Features tells which features every live scheduler knows, sorted. They alone
// may be used in what is written: the next leader may be any of them. It holds
// until another is told; a leadership begins with none.
type Features struct{ Names []string }

func (Features) isEvent() {}

// known are the features of this version, by name. One is added with the first
// version that can read what it writes, and used where c.may says so; it may be
// taken out of both once no version without it is upgraded from.
var known = []string{}

// KnownFeatures returns the features that this version knows, for others to be
// told.
func KnownFeatures() []string { return slices.Clone(known) }

// may says whether a feature may be used.
func (c *Core) may(feature string) bool { return slices.Contains(c.features, feature) }
