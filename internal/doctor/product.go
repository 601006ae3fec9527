package doctor

import (
	"slices"
	"strings"

	"github.com/mirrorfs/mirrorfs/ftppool"
)

// banners are what products say of themselves.
var banners = []struct{ words, product string }{
	{"vsftpd", "vsftpd"}, {"proftpd", "proftpd"}, {"pure-ftpd", "pure-ftpd"}, {"microsoft ftp", "microsoft"},
	{"filezilla server", "filezilla"}, {"serv-u", "serv-u"}, {"(version wu-", "wu-ftpd"}, {"glftpd", "glftpd"},
	{"pyftpdlib", "pyftpdlib"}, {"crushftp", "crushftp"}, {"gene6", "gene6"}, {"ncftpd", "ncftpd"},
	{"titan ftp", "titan"}, {"wing ftp", "wing"}, {"drftpd", "drftpd"}, {"twisted", "twisted"},
}

// product tells a server's product by its banner; by what it can do, where the
// banner was changed. said reports which.
func product(p ftppool.Profile) (name string, said bool) {
	banner := strings.ToLower(p.Banner)
	for _, b := range banners {
		if strings.Contains(banner, b.words) {
			return b.product, true
		}
	}
	has := func(feature string) bool {
		return slices.ContainsFunc(p.Features, func(f string) bool { return strings.HasPrefix(f, feature) })
	}
	switch {
	case strings.Contains(strings.ToLower(p.System), "windows_nt"):
		return "microsoft", false
	case has("ESTA") && has("ESTP"):
		return "pure-ftpd", false
	case has("MFF") && has("CSID"), has("RANG STREAM") && has("MFF"):
		return "proftpd", false
	case has("TVFS") && has("EPSV") && has("EPRT") && has("PASV") && !has("MLST"):
		return "vsftpd", false
	}
	return "", false
}

// character is what is worth knowing of a product.
var character = map[string]string{
	"microsoft": "It lists times in its own zone, to the minute, and ends idle sessions early. mirrorfs is made for that.",
	"vsftpd":    "It lists times to the minute, of older files only days. mirrorfs asks for exact ones when they matter.",
}
