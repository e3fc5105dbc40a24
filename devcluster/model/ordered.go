package model

import "iter"

// ordered is a map that remembers the order of insertion, because whatever a
// client sees must not depend on Go's map order.
type ordered[K comparable, V any] struct {
	index       map[K]*entry[K, V]
	first, last *entry[K, V]
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	prev, next *entry[K, V]
}

func newOrdered[K comparable, V any]() *ordered[K, V] {
	return &ordered[K, V]{index: map[K]*entry[K, V]{}}
}

func (o *ordered[K, V]) len() int { return len(o.index) }

func (o *ordered[K, V]) has(key K) bool {
	_, ok := o.index[key]
	return ok
}

// get returns the zero value when there is none.
func (o *ordered[K, V]) get(key K) V {
	if e, ok := o.index[key]; ok {
		return e.value
	}
	var zero V
	return zero
}

func (o *ordered[K, V]) set(key K, value V) {
	if e, ok := o.index[key]; ok {
		e.value = value
		return
	}
	e := &entry[K, V]{key: key, value: value, prev: o.last}
	if o.last == nil {
		o.first = e
	} else {
		o.last.next = e
	}
	o.last = e
	o.index[key] = e
}

func (o *ordered[K, V]) delete(key K) {
	e, ok := o.index[key]
	if !ok {
		return
	}
	delete(o.index, key)
	if e.prev == nil {
		o.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		o.last = e.prev
	} else {
		e.next.prev = e.prev
	}
}

// all allows the loop to delete the entry it is at, and no other.
func (o *ordered[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := o.first; e != nil; {
			next := e.next
			if !yield(e.key, e.value) {
				return
			}
			e = next
		}
	}
}

// values is a copy, for loops that change the map in other ways.
func (o *ordered[K, V]) values() []V {
	out := make([]V, 0, len(o.index))
	for e := o.first; e != nil; e = e.next {
		out = append(out, e.value)
	}
	return out
}
