package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/doctor"
	"github.com/mirrorfs/mirrorfs/internal/ftptest"
)

// TestDoctorCodes: the exit code says what kind of problem the server is.
func TestDoctorCodes(t *testing.T) {
	vsftpd := ftptest.Vsftpd()
	blocked := ftptest.Vsftpd()
	blocked.EPSVDead, blocked.PASVDead = true, true
	unread := ftptest.Vsftpd()
	unread.Replies = map[string]string{"LIST": "550 Permission denied."}
	for name, c := range map[string]struct {
		options ftptest.Options
		scheme  string
		code    int
		words   string
	}{
		"well":                   {ftptest.Options{Profile: vsftpd}, "ftp", exitOK, "Mount it with:"},
		"data connections":       {ftptest.Options{Profile: blocked}, "ftp", exitUnreachable, "firewall"},
		"login":                  {ftptest.Options{Profile: vsftpd, Users: map[string]string{"a": "b"}}, "ftp", exitLogin, "netrc"},
		"folder can't be listed": {ftptest.Options{Profile: unread}, "ftp", exitFolder, "Permission denied"},
		"certificate":            {ftptest.Options{Profile: vsftpd, TLSMode: ftptest.ImplicitTLS, TLS: ftptest.SelfSigned("127.0.0.1").Config()}, "ftps", exitCertificate, "--tls-ca"},
		"no encryption":          {ftptest.Options{Profile: vsftpd}, "ftpes", exitUnreachable, "AUTH TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.Files = map[string]string{"pub/a.txt": "alpha\n"}
			s := ftptest.New(t, c.options)
			var out, errs bytes.Buffer
			args := []string{"doctor", "--cache-dir", t.TempDir(), c.scheme + "://" + s.Addr() + "/pub", t.TempDir()}
			code := run(&call{Program: "mirrorfs", Args: args}, strings.NewReader(""), &out, &errs)
			if code != c.code || errs.Len() > 0 || !strings.Contains(strings.Join(strings.Fields(out.String()), " "), c.words) {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, &out, &errs)
			}
		})
	}
}

func TestCodeOfFinding(t *testing.T) {
	for cause, code := range map[doctor.Cause]int{
		doctor.CauseFUSE: exitNoFUSE, doctor.CauseCache: exitCache, doctor.CauseMountpoint: exitMountpoint,
	} {
		if got := codeOfFinding(&doctor.Finding{Mark: doctor.Problem, Cause: cause}); got != code {
			t.Errorf("%s: exit code %d, want %d", cause, got, code)
		}
	}
}
