package mountinfo

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 22 0:35 / /mnt/a\040b\134c ro,nosuid,nodev,relatime shared:7 master:2 - fuse.mirrorfs ftp://host/x\040y ro,user_id=0
41 22 0:36 / /mnt/e rw - tmpfs  rw
`
	got, err := parse([]byte(table))
	want := []Mount{
		{"254:0", "/", "rw,relatime", "ext4", "/dev/vda", "rw,discard"},
		{"0:35", `/mnt/a b\c`, "ro,nosuid,nodev,relatime", "fuse.mirrorfs", "ftp://host/x y", "ro,user_id=0"},
		{"0:36", "/mnt/e", "rw", "tmpfs", "", "rw"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parse = %+v, %v; want %+v", got, err, want)
	}
	if _, err := parse([]byte("22 1 254:0 / / rw\n")); err == nil {
		t.Error("a short line was taken")
	}
}

func TestReadHasRoot(t *testing.T) {
	m, ok, err := At("/")
	if err != nil || !ok || m.Type == "" {
		t.Errorf("At(/) = %+v, %v, %v", m, ok, err)
	}
	if _, ok, _ := At("/no/such/mount"); ok {
		t.Error("a mount was found where none is")
	}
}
