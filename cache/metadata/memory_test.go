package metadata

import (
	"fmt"
	"testing"
)

func newTestMemory(t *testing.T, size int64) *memory {
	t.Helper()
	m, err := newMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

// forgetRecent leaves what ristretto alone holds.
func (m *memory) forgetRecent() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.recent.Len() > 0 {
		m.forget(m.recent.Back())
	}
}

// Ristretto may have nothing, but never something older than was put last.
func TestMemoryHoldsTheLastPut(t *testing.T) {
	m := newTestMemory(t, 1<<20)
	for range 20 {
		for i := range 300 { // so that ristretto has something to do
			m.put(&Directory{path: fmt.Sprint(i), cost: 100})
		}
		m.put(&Directory{path: "a", id: 1, cost: 100})
		m.put(&Directory{path: "a", id: 2, cost: 100})
		m.cache.Wait()
		m.forgetRecent()
		if d := m.get("a"); d != nil && d.id != 2 {
			t.Fatalf("the directory put before the last is held")
		}
		m.remove("a")
		if d := m.get("a"); d != nil {
			t.Fatalf("what was removed is held")
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const size = 1 << 20
	m := newTestMemory(t, size)
	for i := range 3000 {
		m.put(&Directory{path: fmt.Sprint(i), cost: 1000})
		if count, bytes := m.usage(); i%300 == 0 && (bytes > size || count == 0) {
			t.Fatalf("%d directories cost %d bytes of %d", count, bytes, size)
		}
	}
	// One that fits nowhere is held while it is in use, and no longer.
	m.put(&Directory{path: "huge", cost: 10 * size})
	if m.get("huge") == nil {
		t.Error("a huge directory in use is not held")
	}
	m.put(&Directory{path: "next", cost: 1000})
	if m.get("huge") != nil || m.get("next") == nil {
		t.Error("a huge directory not in use is held")
	}
	if _, bytes := m.usage(); bytes > size {
		t.Errorf("%d bytes of %d", bytes, size)
	}
}

// A file read from disk never takes the place of what came while it was read.
func TestLoadIsSuperseded(t *testing.T) {
	m := newTestMemory(t, 1<<20)
	old, fresh := &Directory{path: "a", id: 1, cost: 1}, &Directory{path: "a", id: 2, cost: 1}
	l, mine := m.begin("a")
	if _, again := m.begin("a"); !mine || again {
		t.Fatal("a load is not shared")
	}
	m.put(fresh)
	m.forgetRecent()
	expect(t, "held after a put", m.end("a", l, old), fresh)
	expect(t, "told to those who waited", l.d, fresh)

	l, _ = m.begin("a")
	m.remove("a")
	expect(t, "held after a removal", m.end("a", l, old), nil)
	expect(t, "held", m.get("a"), nil)

	l, _ = m.begin("a")
	expect(t, "loaded", m.end("a", l, old), old)
	expect(t, "held", m.get("a"), old)
}

func BenchmarkPut(b *testing.B) {
	m, _ := newMemory(1 << 20)
	defer m.close()
	for i := 0; b.Loop(); i++ {
		m.put(&Directory{path: fmt.Sprint(i), cost: 1000})
	}
}
