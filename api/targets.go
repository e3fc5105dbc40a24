package api

// Targets returns, step by step, how many of n instances have moved when the
// step is complete; the last is n. u has its defaults filled in.
func (u *Update) Targets(n int) []int {
	var targets []int
	moved := 0
	add := func(target int) {
		moved = min(max(moved, target), n)
		targets = append(targets, moved)
	}
	switch u.Strategy {
	case StrategyBlueGreen:
		return []int{n}
	case StrategyCanary:
		for _, s := range u.Steps {
			add(max(s.Instances.Of(n), 1))
		}
	}
	for i := 0; moved < n; i++ {
		add(moved + max(u.Batch.At(i).Of(n), 1))
	}
	if targets == nil {
		return []int{n}
	}
	return targets
}

// Step returns the named step with an index, the zero Step for one of batches.
func (u *Update) Step(i int) Step {
	if u.Strategy == StrategyCanary && i < len(u.Steps) {
		return u.Steps[i]
	}
	return Step{}
}

// SurgeOf returns how many more tasks than n instances there may be in a step
// that moves size of them.
func (u *Update) SurgeOf(n, size int) int {
	switch {
	case u.StopFirst:
		return 0
	case u.Strategy == StrategyBlueGreen:
		return n
	case u.Surge != "":
		return max(u.Surge.AtMost(n), 1)
	}
	return size
}

// UnavailableOf returns how many of n instances may not serve because of the
// deploy, in a step that moves size of them.
func (u *Update) UnavailableOf(n, size int) int {
	switch {
	case u.MaxUnavailable != "" && u.StopFirst:
		return max(u.MaxUnavailable.AtMost(n), 1)
	case u.MaxUnavailable != "":
		return u.MaxUnavailable.AtMost(n)
	case u.StopFirst:
		return size
	}
	return 0
}
