package ftppool

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestQueueOrder(t *testing.T) {
	var q queue
	var order []Want
	for _, w := range []Want{
		{Class: ClassIdle, UID: 1}, {Class: ClassRead, UID: 1}, {Class: ClassRead, UID: 1}, {Class: ClassRead, UID: 1}, {Class: ClassRead, UID: 2}, {Class: ClassLookup, UID: 3},
		{Class: ClassReadAhead, UID: 1}, {Class: ClassRead, UID: 3}, {Class: ClassLookup, UID: 3}, {Class: ClassLookup, UID: 1},
	} {
		q.push(&waiter{want: w})
	}
	for w := q.pop(); w != nil; w = q.pop() {
		order = append(order, w.want)
	}
	want := []Want{
		{Class: ClassLookup, UID: 3}, {Class: ClassLookup, UID: 1}, {Class: ClassLookup, UID: 3},
		{Class: ClassRead, UID: 1}, {Class: ClassRead, UID: 2}, {Class: ClassRead, UID: 3}, {Class: ClassRead, UID: 1}, {Class: ClassRead, UID: 1},
		{Class: ClassReadAhead, UID: 1}, {Class: ClassIdle, UID: 1},
	}
	if !reflect.DeepEqual(order, want) {
		t.Errorf("served %v\nwant   %v", order, want)
	}
}

// A user who comes late waits for one request of each other user, not for all
// that they have waiting.
func TestQueueTurns(t *testing.T) {
	var q queue
	for range 100 {
		q.push(&waiter{want: Want{Class: ClassRead, UID: 1}})
	}
	q.pop()
	q.push(&waiter{want: Want{Class: ClassRead, UID: 2}})
	if a, b := q.pop().want.UID, q.pop().want.UID; a != 1 || b != 2 {
		t.Errorf("served users %d and %d, want 1 and 2", a, b)
	}
}

func TestQueueRemove(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue
	var in []*waiter
	for range 2000 {
		if len(in) > 0 && rng.IntN(2) == 0 {
			i := rng.IntN(len(in))
			if rng.IntN(2) == 0 {
				w := q.pop()
				i = slices.Index(in, w)
			} else if !q.remove(in[i]) {
				t.Fatal("a waiter is not where it was put")
			}
			if i < 0 {
				t.Fatal("served somebody who is not waiting")
			}
			in = slices.Delete(in, i, i+1)
		} else {
			w := &waiter{want: Want{Class: Class(rng.IntN(4)), UID: uint32(rng.IntN(3))}}
			q.push(w)
			in = append(in, w)
		}
		if q.waiting != len(in) {
			t.Fatalf("%d waiting, want %d", q.waiting, len(in))
		}
	}
	for range in {
		q.pop()
	}
	if q.pop() != nil || q.remove(&waiter{}) {
		t.Error("the queue is not empty")
	}
	for _, turns := range q.classes {
		if len(turns.users) != 0 || len(turns.lines) != 0 {
			t.Errorf("left behind: %+v", turns)
		}
	}
}
