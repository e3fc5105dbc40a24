package engine

// At is the id of the last event that Next returned, or of the one that it
// follows when it returned none yet.
func (f *Follower) At() EventID { return f.at }
