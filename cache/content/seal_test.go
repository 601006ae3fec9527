package content

import (
	"os"
	"path/filepath"
	"testing"
)

// Writing a large file to the disk can be stopped in between, and is not taken
// for done then.
func TestWriteBackStops(t *testing.T) {
	data, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	if _, err := data.Write(make([]byte, sealPiece+chunkSize)); err != nil {
		t.Fatal(err)
	}
	parts := []span{{0, 10}, {chunkSize, sealPiece + chunkSize}}
	stop := make(chan struct{})
	if done, err := writeBack(data, parts, stop); !done || err != nil {
		t.Errorf("to the end: %v, %v", done, err)
	}
	close(stop)
	if done, err := writeBack(data, parts, stop); done || err != nil {
		t.Errorf("stopped: %v, %v", done, err)
	}
	if done, err := writeBack(data, nil, stop); !done || err != nil {
		t.Errorf("nothing to do: %v, %v", done, err)
	}
}
