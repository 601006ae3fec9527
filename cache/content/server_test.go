package content_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mirrorfs/mirrorfs/cache/content"
	"github.com/mirrorfs/mirrorfs/ftppool"
	"github.com/mirrorfs/mirrorfs/ftppool/listing"
	"github.com/mirrorfs/mirrorfs/internal/realftp"
)

// real is a server process with files, and a store that reads from it.
type real struct {
	server *realftp.Server
	pool   *ftppool.Pool
	store  *content.Store
	root   string
}

func startReal(t testing.TB, kind realftp.Kind, connections int, files map[string][]byte) *real {
	t.Helper()
	r := &real{root: t.TempDir()}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(r.root, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.server = realftp.Start(t, kind, realftp.Options{Root: r.root})
	var err error
	r.pool, err = ftppool.New(ftppool.Config{
		Host: r.server.Host(), Port: r.server.Port(), Connections: connections, Timeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.pool.Close() })
	r.store, err = content.Open(content.Options{
		Dir: t.TempDir(), WholeFileBelow: 64 << 20, Timeout: 20 * time.Second, RetryFor: time.Minute,
	}, r.pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.store.Close() })
	return r
}

// version is what a listing would say of a file.
func (r *real) version(t testing.TB, name string) listing.Version {
	t.Helper()
	info, err := os.Stat(filepath.Join(r.root, name))
	if err != nil {
		t.Fatal(err)
	}
	return listing.Version{Size: info.Size(), MTime: listing.Exactly(info.ModTime())}
}

func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// Many readers of many files over few sessions: each file costs one transfer,
// and the bytes sent are those of the files.
func TestRealServers(t *testing.T) {
	for _, kind := range realftp.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			files := map[string][]byte{}
			total := int64(0)
			for i, size := range []int{1, 4096, 300_000, 1 << 20, 5 << 20, 20 << 20, 40<<20 + 17} {
				files["f"+strconv.Itoa(i)] = noise(uint64(i), size)
				total += int64(size)
			}
			r := startReal(t, kind, 3, files)
			var wg sync.WaitGroup
			for name, want := range files {
				for range 4 {
					wg.Go(func() {
						h, err := r.store.Open(t.Context(), 0, name, r.version(t, name))
						if err != nil {
							t.Error(err)
							return
						}
						defer h.Close()
						got := make([]byte, len(want))
						for off := 0; off < len(got); off += 128 << 10 {
							end := min(off+128<<10, len(got))
							if _, err := h.ReadAt(t.Context(), got[off:end], int64(off)); err != nil && err != io.EOF {
								t.Errorf("%s: %v", name, err)
								return
							}
						}
						if sha256.Sum256(got) != sha256.Sum256(want) {
							t.Errorf("%s: wrong bytes", name)
						}
					})
				}
			}
			wg.Wait()
			if got := r.store.Stats(); got.Streams != int64(len(files)) || got.Fetched != total {
				t.Errorf("%d transfers and %d bytes for %d files of %d", got.Streams, got.Fetched, len(files), total)
			}
			sent, err := r.server.BytesSent()
			if err != nil || float64(sent) > 1.05*float64(total) {
				t.Errorf("the server sent %d bytes of %d, %v", sent, total, err)
			}
		})
	}
}

// Looks at the heads of files pull little more than was asked for.
func TestRealHeads(t *testing.T) {
	files := map[string][]byte{"f": noise(1, 20<<20)}
	r := startReal(t, realftp.Vsftpd, 4, files)
	const looks = 50
	for i := range looks {
		name := "g" + strconv.Itoa(i)
		if err := os.Link(filepath.Join(r.root, "f"), filepath.Join(r.root, name)); err != nil {
			t.Fatal(err)
		}
		h, err := r.store.Open(t.Context(), 0, name, r.version(t, name))
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 16<<10)
		if _, err := h.ReadAt(t.Context(), p, 0); err != nil || !bytes.Equal(p, files["f"][:len(p)]) {
			t.Fatalf("wrong bytes, %v", err)
		}
		h.Close()
	}
	sent, err := r.server.BytesSent()
	if err != nil || sent > looks<<20 {
		t.Errorf("the server sent %d bytes a look, %v", sent/looks, err)
	}
	t.Logf("the server sent %d bytes a look", sent/looks)
}

// A server that is stopped and started again in the middle of a file is only a
// delay.
func TestRealRestart(t *testing.T) {
	files := map[string][]byte{"f": noise(1, 60<<20)}
	r := startReal(t, realftp.Vsftpd, 2, files)
	h, err := r.store.Open(t.Context(), 0, "f", r.version(t, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	got := make([]byte, len(files["f"]))
	for off := 0; off < len(got); off += 1 << 20 {
		if off == 5<<20 {
			r.server.Stop()
			go func() {
				time.Sleep(300 * time.Millisecond)
				if err := r.server.Start(); err != nil {
					t.Error(err)
				}
			}()
		}
		if _, err := h.ReadAt(t.Context(), got[off:off+1<<20], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, files["f"]) {
		t.Error("wrong bytes")
	}
	if st := r.store.Stats(); float64(st.Fetched) > 1.1*float64(len(got)) {
		t.Errorf("%d bytes fetched of %d", st.Fetched, len(got))
	}
}
