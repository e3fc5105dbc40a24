package access

import "errors"

// What may be wrong with what somebody shows.
var (
	// ErrInvalid: it proves nothing.
	ErrInvalid = errors.New("the token is not valid")
	// ErrExpired: it did, until a while ago.
	ErrExpired = errors.New("the token has expired")
	// ErrUnavailable: it cannot be found out now.
	ErrUnavailable = errors.New("the token cannot be checked now")
)
